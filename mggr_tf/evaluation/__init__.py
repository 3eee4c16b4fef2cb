"""Score runs on subjects that they were not trained on."""
