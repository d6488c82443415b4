"""The way of the audio, a line a stage.

connection   frames from one socket, and events back onto it
wire         text frames ↔ checked messages
door         headers of a handshake → a grant, or a refusal
grant        verified claims → what this connection may do
subjects     a start → a place beside the subject's other sessions, or a refusal
quota        bytes and audio time spent → still allowed, or which budget ran out
pace         audio and the time → read on, read later, or too fast
decode       bytes of a declared encoding → float32 samples
resample     any rate → 16 kHz
buffer       samples in at the end, spans out by their position
vad          windows of 512 samples → probabilities of speech
segmenter    probabilities → speech started, paused, resumed, ended
segment      requests and hypotheses of one stretch of speech → its captions and its final
track        one channel's audio, windows and segments
session      the conversation: what comes in, what has to happen next
backlog      requests of many sessions → batches, finals first
scheduler    the engine's threads, clock and futures around it
engines      audio → words
guards       is this hypothesis fit to be seen?
hypotheses   successive hypotheses → stable words and a changing tail

audio, errors, recognition and config hold the values that every stage uses; live counts sessions;
redis_subjects does what subjects does for several servers, with redis_scripts and redis_client;
app joins HTTP to all this, serving opens what it needs and runs it, provision and embedded put it
there, and `run.py` is the command line.
"""
