"""The resolver: which assets a request reaches, and in what chunks they are purged."""
