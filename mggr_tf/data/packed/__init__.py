"""Packs: data sets of any size, as patches in checksummed shards that allow random access.

::

    PACK/
      index.json            source, licence, subjects, and the SHA-256 of every shard
      records.npy           for every record: shard, offset, patches, subject, group
      shard-00000.tfrecord  records with up to 32 patches of one subject, side and head pose each
      left-out.csv          patches that are not in the pack, with reasons

Records are read by their offset in the file, so the order of reading can be computed and needs no
shuffle buffer. Only `records.npy` grows with the number of patches, by 28 bytes per record.
"""
