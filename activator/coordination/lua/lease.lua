-- The lease's record, and its three changes; see core/election.py.
--
-- KEYS  lease   HASH  v, holder, term, beat
-- ARGV  'look'  |  'acquire', activator, term, holder, term and beat as they were seen
--       | 'renew', activator, term  |  'give_back', activator, term, channel
-- Reply 1 if it was done, holder, term, beat

local lease = KEYS[1]
local KEEP_MS = 86400000 -- outlives every activator by a day
local found = redis.call('HMGET', lease, 'v', 'holder', 'term', 'beat')
if found[1] and found[1] ~= '1' then
  return redis.error_reply('VERSION the lease is kept by a newer version')
end
local holder, term, beat = found[2] or '', found[3] or '0', found[4] or '0'
local verb, act = ARGV[1], ARGV[2]

local function write(new_holder, new_term, new_beat)
  holder, term, beat = new_holder, new_term, new_beat
  -- a first write that needs no memory: after it a full Redis refuses none
  redis.call('HDEL', lease, '')
  redis.call('HSET', lease, 'v', '1', 'holder', holder, 'term', term, 'beat', beat)
  redis.call('PEXPIRE', lease, KEEP_MS)
  return {1, holder, term, beat}
end

if verb == 'look' then
  return {1, holder, term, beat}
elseif verb == 'acquire' then
  if holder == ARGV[4] and term == ARGV[5] and beat == ARGV[6] then
    return write(act, ARGV[3], '1')
  end
elseif holder == act and term == ARGV[3] then
  if verb == 'renew' then
    return write(holder, term, tostring(tonumber(beat) + 1))
  end
  redis.call('PUBLISH', ARGV[4], act)
  return write('', term, beat)
end
return {0, holder, term, beat}
