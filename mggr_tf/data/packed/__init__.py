"""Store data sets of any size as packs.

A pack contains eye patches (images of one eye) in files with a checksum, the shards. Each patch can
be read without reading the whole shard::

    PACK/
      index.json            source, licence, subjects, and the SHA-256 of every shard
      records.npy           for every record: shard, offset, patches, subject, group
      shard-00000.tfrecord  records; each has up to 32 patches of one subject, side and head pose
      left-out.csv          patches that are not in the pack, each with the reason

Training needs the patches in a random order. The reader computes this order and finds each record
by its offset in the shard. A shuffle buffer is therefore not needed. Each record adds 28 bytes to
`records.npy`. The memory use of all other parts does not depend on the number of patches.
"""
