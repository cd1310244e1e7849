"""The scoring engine: reader, image features, runner, shards."""
