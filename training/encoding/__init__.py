"""Tweets' vectors in bulk, by the encoder.onnx that serves: in this process, or by workers on a Ray cluster.

What is to be encoded is cut into shards (shards.py); one function encodes a shard, whoever runs it (encoder.py). This
process alone stores what comes back: in SQL and from there in Redis (stored.py), or in a Parquet file a shard.
"""
