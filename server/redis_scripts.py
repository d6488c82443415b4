"""What Redis does about a subject in one step, in Lua: take a place, renew leases, spend audio.

Time is Redis' own, so that the clocks of several servers need not agree. A lease is a member of a
sorted set with its end as score, in milliseconds; those past it are dropped before anything is
counted. The end of the set is that of its last lease, so that a subject leaves nothing behind. The
counts are the same as in memory, see `subjects`. A limit below zero is no limit.
"""

from server.subjects import DAY_S, START_WINDOW_S

TAKEN, STARTS_USED_UP, PLACES_USED_UP, DAY_USED_UP = range(4)
"""The answers of `TAKE`."""

_CLOCK = """
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
"""
_LEASES = """
local function drop_past(places)
  redis.call('ZREMRANGEBYSCORE', places, '-inf', now_ms)
end
local function lease(places, place, lease_ms)
  redis.call('ZADD', places, now_ms + lease_ms, place)
  local last = redis.call('ZRANGE', places, -1, -1, 'WITHSCORES')
  redis.call('PEXPIREAT', places, last[2])
end
"""
_DAY = f"""
local function spent_ms(day)
  local today = math.floor(time[1] / {DAY_S})
  local kept = redis.call('HMGET', day, 'day', 'spent_ms')
  local of = tonumber(kept[1])
  if of and of - 1 <= today and today <= of then
    return tonumber(kept[2]), of
  end
  return 0, today
end
"""
TAKE = (
    _CLOCK
    + _LEASES
    + _DAY
    + f"""
local places, starts, day = KEYS[1], KEYS[2], KEYS[3]
local place, lease_ms = ARGV[1], tonumber(ARGV[2])
local most_places, most_starts, most_ms = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if most_starts >= 0 then
  local oldest = redis.call('LINDEX', starts, 0)
  while oldest and tonumber(oldest) <= now_ms - {START_WINDOW_S * 1000} do
    redis.call('LPOP', starts)
    oldest = redis.call('LINDEX', starts, 0)
  end
  local former = redis.call('LLEN', starts)
  if former > 0 and former >= most_starts then
    redis.call('LPOP', starts)
  end
  redis.call('RPUSH', starts, now_ms)
  redis.call('PEXPIRE', starts, {START_WINDOW_S * 1000})
  if former >= most_starts then
    return {STARTS_USED_UP}
  end
end
drop_past(places)
if most_places >= 0 and not redis.call('ZSCORE', places, place)
    and redis.call('ZCARD', places) >= most_places then
  return {PLACES_USED_UP}
end
if most_ms >= 0 and spent_ms(day) >= most_ms then
  return {DAY_USED_UP}
end
lease(places, place, lease_ms)
return {TAKEN}
"""
)
"""Keys: places, starts, day. Arguments: the place, the lease in ms, the three limits."""

RENEW = (
    _CLOCK
    + _LEASES
    + """
drop_past(KEYS[1])
local lost = {}
for i = 2, #ARGV, 2 do
  local place, most = ARGV[i], tonumber(ARGV[i + 1])
  if redis.call('ZSCORE', KEYS[1], place) or most < 0
      or redis.call('ZCARD', KEYS[1]) < most then
    lease(KEYS[1], place, tonumber(ARGV[1]))
  else
    lost[#lost + 1] = place
  end
end
return lost
"""
)
"""Key: places. Arguments: the lease in ms, then each place and its limit. Gives those that are
lost: run out, and no room to take them anew."""

SPEND = (
    _CLOCK
    + _DAY
    + f"""
local wanted_ms, most_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local spent, day = spent_ms(KEYS[1])
local got_ms = wanted_ms
if most_ms >= 0 then
  got_ms = math.min(wanted_ms, math.max(0, most_ms - spent))
end
got_ms = math.max(got_ms, -spent)
redis.call('HSET', KEYS[1], 'day', day, 'spent_ms', spent + got_ms)
redis.call('PEXPIRE', KEYS[1], {2 * DAY_S * 1000})
return got_ms
"""
)
"""Key: day. Arguments: how much to take, or below zero to give back, and the day's limit. Gives
what was got."""
