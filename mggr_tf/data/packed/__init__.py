"""Data sets of any size: patches in checksummed shards, written once and read in any order.

::

    PACK/
      index.json            source, licence, subjects; every shard's SHA-256
      records.npy           of every record: shard, place in it, patches, subject, group
      shard-00000.tfrecord  records: up to 32 patches of one subject, side and head pose each
      left-out.csv          patches that are not in it, and why

A record is read at its place in its file, so that order is a matter of arithmetic, and nothing
grows with the number of patches but `records.npy`, by 28 bytes a record.
"""
