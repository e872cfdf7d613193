# Algorithms, reward sources and what they share.
