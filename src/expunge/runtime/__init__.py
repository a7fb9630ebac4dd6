"""What runs a role: the one loop, what it says while a server is away, and what it does with what ends processes."""
