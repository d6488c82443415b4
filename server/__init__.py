"""The way of the audio, a line a stage.

connection   frames from one socket, and events back onto it
rest         files over HTTP, and their words back: each a session, too
form         a multipart body → its fields and its file
incoming     the messages of a request → the same, or what is left of them dropped
upload       the bytes of a file as they come → memory that is wiped
sound_file   the bytes of a file → blocks of PCM; mp3 reads one kind of them
oneshot      a file, where a client would stand
dialects     frames of telephone systems ↔ what was heard, what is to be told; those of clients of
             other people's APIs ↔ messages and events of the native protocol
translating  a client of another API, where a native one would stand
reordering   frames of one track → the order of their numbers
placing      frames with numbers and stamps → sound without gaps, cuts, and a map to the wire's time
timelines    the tracks of one wire → placed, each or together; events → the wire's time
bridge       a telephone system's frames → a native session's, and its events back
bridging     the connection and the session around it
calls        events of both parties → one call, for whoever may read it
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
track        one channel's audio, windows and segments; tracks has several
session      the conversation: what comes in, what has to happen next
refreshing   what newer tokens grant → by which of them the session goes on
backlog      requests of many sessions → batches, finals first
scheduler    the engine's threads, clock and futures around it
engines      audio → words
guards       is this hypothesis fit to be seen?
hypotheses   successive hypotheses → stable words and a changing tail
transcriptions   finals → OpenAI's answers; subtitles makes the cues

audio, errors, languages, recognition, session_values and config hold the values that every stage
uses; lifetime says when a session ends, live lists those that run, tickets and revoking say what
opens the door and what no longer does, blocks whom nobody looks at; redis_subjects does what
subjects does for several servers, subject_store opens either. stay puts a session's start and end
on record, refusals counts those that are turned away often, refusal_record writes them, familiar
those that come often; recorder is the trail as these see it, configured what a start puts there.
figures counts what every stage does; metrics and health tell it to a monitor, logs the rest.
listener, with doorstep, its protocols, crowd, forwarded and tls, is the socket; reception lets
people in, app, rest and admin are what they ask for. watching follows the trail and tells what
looks suspicious. bridge_routes lets telephone systems in, by what bridge_settings, bridge_kinds and
bridge_credentials say of each; call keeps what is said in one call, call_wire spells it,
call_routes tells it to who may read it by call_visit, and call_tickets names a call for who can
carry nothing else; telephony joins them. client_routes lets clients of other APIs in, by what
client_settings says and client_apis makes of it; client_secrets and client_grants give them keys
for a short while, prerecorded takes their files. dashboard answers those who watch: asked reads
their questions, overview and holdings know the answers, shown words them, feed and lines go on
telling, insight joins them. audit_commands, audit_shown and trail_commands do the same in a
terminal. serving opens and joins all this, provision and embedded put there what it needs, and
`run.py` is the command line.
"""
