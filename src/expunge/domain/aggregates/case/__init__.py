"""A case: one request, carried out. `decide(case, message) -> facts, effects`; the facts, replayed, give the case back.

`state` and `chunks` are what is known of it, `messages` what may happen to it, `facts` what is recorded, `effects` what
it asks for. `decide` looks up who handles a message. The handlers stand in slices, each with its facts and what they
change. In the order of the flow: opening, resolution, late, watermark, approval, stages, gate, receipts (with reading),
replacement. What operators and laws say meanwhile: holds, deferral, restriction, words, decisions, cancellation. The
end: deadlines, closing, confirm.
"""
