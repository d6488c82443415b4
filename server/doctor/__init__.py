"""A deployment in, what is right and what has to be mended in it out: `run.py doctor`.

finding    one check's answer: ok, warn or bad, why, and the remedy
keys       key files and their folders, the age of the signing key
model      the pack, its key slots, the device it is to run on
trail      the audit trail, its disk, its SQLite, the order of its times
host       clock, core files, tracing, swap, account
versions   installed libraries against the lower bounds of this package
bridges    telephone systems and their secrets
network    TLS, who can reach the server, origins, issuers, port, time-outs
command    all of them on the settings in use
"""
