"""The way of the audio, a line a stage.

connection   frames from one socket, and events back onto it wire         text frames ↔ checked
messages grant        verified claims → what this connection may do quota        bytes and audio
time spent → still allowed, or which budget ran out decode       bytes of a declared encoding →
float32 samples resample     any rate → 16 kHz vad          windows of 512 samples → probabilities
of speech segmenter    probabilities → speech started, paused, ended track        one channel's
audio, segments and hypotheses session      the conversation: what comes in, what has to happen
next scheduler    segments of many sessions → batches for the engine engines      audio → words
guards       is this hypothesis fit to be seen? hypotheses   successive hypotheses → stable words
and a changing tail

errors, audio and config hold values that every stage uses; app joins HTTP to all this, `run.py`
joins the parts.
"""
