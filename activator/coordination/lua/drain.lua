-- The drains of one endpoint: the rules of core/draining.py, atomically, and calling out what follows.
--
-- KEYS  drain   HASH  v; number, stage, by, term, replicas of the latest drain;
--                     "w:ACTIVATOR" -> the number it gave its word to last, 0: none
-- ARGV  endpoint, channel, verb, its words:
--       join ACT | leave ACT | declare BY TERM REPLICAS FENCE | answer ACT NUMBER 1|0
--       agree NUMBER EXCUSED… | revive ACT | conclude NUMBER 1|0
-- Reply {1 if it was done, number, stage, by, replicas, members of a declared drain…}, the record as
--       it was before for `revive`, as it is for the others

local drain, endpoint, channel, verb = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local KEEP_MS = 86400000 -- activators join again every hour
local found = redis.call('HMGET', drain, 'v', 'number', 'stage', 'by', 'term', 'replicas')
if found[1] and found[1] ~= '1' then
  return redis.error_reply('VERSION the drains are kept by a newer version')
end
local number, stage = found[2] or '0', found[3] or ''
local by, term, replicas = found[4] or '', tonumber(found[5] or '0'), found[6] or ''

local function reply(done)
  return {done, number, stage, by, replicas}
end

local function write(...)
  -- a first write that needs no memory: after it a full Redis refuses none
  redis.call('HDEL', drain, '')
  redis.call('HSET', drain, 'v', '1', ...)
  redis.call('PEXPIRE', drain, KEEP_MS)
end

local function call_out(said)
  said.v, said.e, said.n = 1, endpoint, number
  redis.call('PUBLISH', channel, cjson.encode(said))
end

-- activator -> number, of all that have joined
local function words()
  local all = redis.call('HGETALL', drain)
  local given = {}
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'w:' then
      given[string.sub(all[i], 3)] = all[i + 1]
    end
  end
  return given
end

if verb == 'join' then
  write('stage', stage)
  redis.call('HSETNX', drain, 'w:' .. ARGV[4], '0')
  return reply(1)
end

if verb == 'leave' then
  redis.call('HDEL', drain, 'w:' .. ARGV[4])
  if stage == '' and next(words()) == nil then
    redis.call('DEL', drain)
  end
  return reply(1)
end

if verb == 'declare' then
  if tonumber(ARGV[5]) < term or stage == 'agreed' then
    return reply(0)
  end
  -- by the clock, so that it rises although the record may have been lost; a double holds it exactly
  local clock = redis.call('TIME')
  local next_number = math.max(tonumber(number) + 1, clock[1] * 1000000 + clock[2])
  number, stage, by, replicas = string.format('%.0f', next_number), 'asked', ARGV[4], ARGV[6]
  write('number', number, 'stage', stage, 'by', by, 'term', ARGV[5], 'replicas', replicas)
  call_out({k = 'declared', a = by, r = replicas, f = ARGV[7]})
  local said = reply(1)
  for act in pairs(words()) do
    said[#said + 1] = act
  end
  return said
end

if verb == 'answer' then
  if ARGV[5] ~= number or stage ~= 'asked' then
    return reply(0)
  end
  local quiet = ARGV[6] == '1'
  if not quiet then
    stage = ''
  end
  write('stage', stage, 'w:' .. ARGV[4], quiet and number or '0')
  call_out({k = 'answered', a = ARGV[4], q = quiet and 1 or 0})
  return reply(1)
end

if verb == 'agree' then
  if ARGV[4] ~= number or stage ~= 'asked' then
    return reply(0)
  end
  local missing = words()
  for i = 5, #ARGV do
    missing[ARGV[i]] = nil
  end
  for _, word in pairs(missing) do
    if word ~= number then
      return reply(0)
    end
  end
  stage = 'agreed'
  write('stage', stage)
  return reply(1)
end

if verb == 'revive' then
  write('stage', stage == 'agreed' and stage or '', 'w:' .. ARGV[4], '0')
  if stage ~= '' then
    call_out({k = 'revived'})
  end
  return reply(1)
end

-- conclude
if ARGV[4] ~= number then
  return reply(0)
end
write('stage', '')
stage = ''
call_out({k = 'concluded', o = tonumber(ARGV[5])})
return reply(1)
