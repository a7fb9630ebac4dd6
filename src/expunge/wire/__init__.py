"""What is said on topics, in and out: a module for each topic. The models make the schemas, and the messages.

`form` is how all of it is written, `inlets` how what others say is read, `outlets` the table of what Expunge says.
"""
