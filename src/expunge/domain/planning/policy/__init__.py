"""Policy: what must happen to each asset, by when, and who may stop it. Rules are data, not code.

`rules` is the form of a policy file, `dispose` what it means for one asset, `clocks` what it means for one request.
"""
