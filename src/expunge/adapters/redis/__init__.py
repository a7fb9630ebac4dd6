"""The index and the state on Redis (6.2 commands only, so Valkey and managed services work).

Every key Expunge uses. <t> is one of 256 hash tags, <b> a bucket within its tag, <p> a partition of `cases` (of tag p
mod 256). Names stand behind the deployment's prefix. docs/index.md says why each is as it is.

    key                            type    field -> value
    {0}meta                        hash    format, buckets, check value of the secret, epoch
    {0}rebuild                     hash    the same, of an index that is being rebuilt, in the place of meta
    {0}holdings                    set     keys of holdings
    {0}policies                    hash    digest -> policy, JSON
    {0}combinations                hash    digest (6) -> kinds, systems, data sources, purposes, categories, JSON
                                           (on a cluster in every tag: a row must not outlive what it names)
    {<t>}sentinel                  hash    epoch; every script checks it first
    {<t>}a:<b>                     hash    asset -> row (domain/lineage/row.py)
    {<t>}c:<b>                     hash    node -> packed children, or 'S': see the hash beside it
    {<t>}s:<b>                     hash    subject -> packed assets, spilled likewise
    {<t>}o:<b>                     hash    data source (8) -> its assets in this bucket, spilled likewise
    {<t>}c:<b>:<node>              hash    part (second byte of a member) -> packed members, or 'S'; also s:, o:
    {<t>}c:<b>:<node>:<part>       set     members of a part with many
    {<t>}m:<b>                     hash    node -> packed marks, or 'S' (prelude.lua)
    {<t>}m:<b>:<node>              hash    case -> mark, of a node with many
    {<t>}x:<case>:<node>           set     what a container of a case must leave out (bounded)
    {<t>}pos:<p>                   string  position of `cases` that the state below includes
    {<t>}case:<p>:<case>           string  the case, JSON
    {<t>}root:<p>:<case>           string  what it was opened with, JSON
    {<t>}suppression:<p>:<key>     string  what was said of one suppression, JSON
    {<t>}rate:<p>:<key>            string  what was asked for of one publisher or system, JSON
    {<t>}retraining:<p>:<key>      string  one model that is made anew for several cases, JSON
    {<t>}standing:<p>              string  pauses, holds, verdicts and frozen cases of the partition, JSON
    {<t>}aside:<p>:<case>          list    messages that wait for a frozen case: position, moment, value
    {0}suspects                    hash    topic/partition -> records of which one has ended its process, JSON
    {<t>}chunks:<p>:<case>         hash    chunk digest -> its state, JSON
    {<t>}commands:<p>:<case>       hash    command id -> chunk digest
    {<t>}plan:<p>:<case>:<g>       set     chunks of a generation
    {<t>}ready:<p>:<case>:<g>:<s>  zset    chunks to which their stage has not come, in lexical order
    {<t>}live:<p>:<case>           zset    chunks that operators' words may concern, in lexical order
    {<t>}chunk:<p>:<case>:<d>      string  body of a chunk, JSON
    {<t>}owners:<p>:<case>         hash    name of an obligation (12) -> digest of the chunk that holds it
                                           (<case>.<g> once generation g and all before it are forgotten)
    {<t>}owners:<p>:<case>:<xx>    hash    the same, of a large case: by the first two bytes of the name
    {<t>}timers:<p>                zset    case|timer -> due, in milliseconds
    {<t>}unapplied:<p>             set     cases that wait for the indexers
    {<t>}open:<p>                  zset    cases that are alive, in lexical order
    {<t>}list:<p>                  set     all cases
    {<t>}forgotten:<p>             set     cases that have been forgotten
    {<t>}keyed:<p>:<case>          hash    chunk digest -> what stands for it, during a rebuild
    {0}swept                       string  when the last sweep began that has come to its end (milliseconds)
    {<t>}notary-pos:<p>            string  position of `ledger` that the notary includes
    {<t>}facts:<p>:<case>          hash    sequence -> digest of the fact (tag of the ledger's partition)

No key expires by the server's clock: one that vanished would look like one that was lost (rule "compared"), and a
rebuild, which knows no clock, would bring it back. What may go is bounded by what ends it, and goes in the script that
writes that:

    rebuild, keyed                                  when the rebuild ends
    swept, notary-pos, pos, sentinel, standing      are overwritten; one of each
    timers, unapplied, open, live, ready            when that is due, applied, over or commanded
    aside                                           when the case is thawed, message by message
    suspects                                        when the partition has gone on, or an operator unparks
    chunks, commands, plan, chunk, owners, facts    when the case is forgotten (policy `retention.case_months`)
    root, case                                      are cut then to what must be known for ever; with list, forgotten
    a (ids), s and marks under an earlier secret    at a sweep (rule "swept"); when a rotation ends (rule "rotated")
    suppression                                     is cut to a number where policy ends it (`suppression_months`)
    rate, retraining, policies, combinations        as many as are declared, were made anew, or were in force
    a, c, o, m, x, holdings                         stay: with them what comes back years later is noticed
"""
