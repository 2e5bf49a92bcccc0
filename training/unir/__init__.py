"""UNIR: restoration learnt from corrupted images only, by an adversary that compares measurements."""
