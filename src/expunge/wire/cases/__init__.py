"""`cases`: everything that is decided on, each message keyed by the aggregate that it is for.

`case` is what happens to one case, `words` what operators say of one or of all, `rate`, `suppression` and `retraining`
what cases say to aggregates that they share. `table` lists all.
"""
