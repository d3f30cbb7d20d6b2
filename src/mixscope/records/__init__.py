"""Records of runs on disk: their forms, reading and writing; claims and what runs say of them. Imports no torch."""
