"""One retrain for many requests: an aggregate for each model of each system.

See design: "One writer"; rule "joint retrains"; ADR 19.

To a case it is what a system is. The command of a chunk that has a model made anew goes to it and not to the model's
owner; it answers with receipts: `accepted` with the moment until which to wait, then what the owner said. When the time
has come it has the model made anew once, without all that its members leave out. While that goes on, whoever asks
meanwhile waits for the next time.

What operators say (pause, hold, cancel) is held against the commands of the cases, as everywhere: a case that must not
go on leaves. A model that nobody waits for any more is withdrawn from its owner.

Read in this order: messages (what comes in), state, facts (what is recorded, and `apply`), decide.
"""
