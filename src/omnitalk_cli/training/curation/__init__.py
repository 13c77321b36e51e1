"""From videos of people to training clips, after the paper's appendix B.1 (``docs/corpus.md``)."""
