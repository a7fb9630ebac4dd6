"""Redis from Kafka: all that stands there follows from what lies on topics, and is made from them again.

    plans    -> what cases were opened with, the bodies of chunks, policies, and what stands on no ledger   (parts)
    ledger   -> cases and models, fact by fact; and the marks that these facts have led to                  (facts)
    cases    -> of what has not been handled yet: the chunks that it names, whose nodes are marked, too     (rebuild)
    assets   -> rows, edges, memberships                                                                    (statements)
    the index itself -> how far each case reaches, and whatever it may not have been told                   (settling)

State is restored as of the committed position of `cases`: what lies behind that is decided once more, with the same
words (rule "rebuilt"). Nobody reads or writes meanwhile: Redis says what it is when all is there.
"""
