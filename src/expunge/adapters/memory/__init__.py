"""Every port in memory, for tests and simulations; held to what the real ones promise by the contract suites."""
