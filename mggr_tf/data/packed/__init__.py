"""Store data sets of any size as packs.

A pack contains eye patches (images of one eye) in a few large files, the shards. Each shard has a
checksum. A patch can be read without the rest of its shard::

    PACK/
      index.json            source, licence, subjects, and the SHA-256 of every shard
      records.npy           for every record: shard, offset, patches, subject, group
      shard-00000.tfrecord  records; each has up to 32 patches of one subject, side and head pose
      left-out.csv          patches that are not in the pack, each with the reason

Training needs the patches in a random order. The reader computes this order and finds each record
by its offset in the shard. A shuffle buffer is therefore not needed. Only the memory for
`records.npy`, 28 bytes per record, grows with the number of patches.
"""
