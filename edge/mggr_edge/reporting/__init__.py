"""What a run shows of itself: lines for programs, drawings and tables for people."""
