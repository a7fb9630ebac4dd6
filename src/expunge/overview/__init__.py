"""What goes on in a deployment, in numbers: computed from what was read, and told to monitors and to people."""
