"""Tools of `mggr-edge` besides the redirection: doctor, studio and bench."""
