"""What was made from what: statements of registrars, the rows of the index, the marks of cases, and their walks."""
