"""Everything that knows a client library. Its exceptions do not leave."""
