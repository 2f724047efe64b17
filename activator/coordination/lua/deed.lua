-- The deed of one endpoint: the rules of core/deeds.py, atomically, and calling out what changes.
--
-- KEYS  deed  HASH  v; holder, term, where, leaving, number, taken, fence, wanted, victims, told:
--                   the fields of core/deeds.py; at: when it was told, in ms of this server's clock
-- ARGV  endpoint, channel, activator, verb, its words:
--       look | claim HOLDER TERM NUMBER FENCE (as seen) TERM WANTED (-1: as it stands) WHERE TOLD
--       order WANTED VICTIMS FENCE BEFORE (-1: whatever was) | revive
--       tell TERM TAKEN WANTED LEAVING TOLD ALOUD | give_back TERM NUMBER TOLD
-- Reply {1 if it was done (order: 'taken', 'outdated' or 'nobodys'), the fields, ms since `at`}
--
-- Victims are ids, each with a newline after it. What is called out is "ACTIVATOR ENDPOINT".

local deed, endpoint, channel, act, verb = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local KEEP_MS = 86400000 -- its holder tells again every hour
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local FIELDS = {
  'holder', 'term', 'where', 'leaving', 'number', 'taken', 'fence', 'wanted', 'victims', 'told', 'at',
}
local found = redis.call('HMGET', deed, 'v', unpack(FIELDS))
if found[1] and found[1] ~= '1' then
  return redis.error_reply('VERSION the deed is kept by a newer version')
end
local is = {}
for i, name in ipairs(FIELDS) do
  is[name] = found[i + 1] or ''
end
for _, name in ipairs({'term', 'leaving', 'number', 'taken', 'fence', 'wanted', 'at'}) do
  is[name] = tonumber(is[name]) or 0
end

local function whole(number)
  return string.format('%.0f', number)
end

local function reply(done)
  return {
    done, is.holder, whole(is.term), is.where, whole(is.leaving), whole(is.number),
    whole(is.taken), whole(is.fence), whole(is.wanted), is.victims, is.told,
    whole(is.at > 0 and now - is.at or 0),
  }
end

local function write(aloud)
  -- a first write that needs no memory: after it a full Redis refuses none
  redis.call('HDEL', deed, '')
  redis.call('HSET', deed, 'v', '1', 'holder', is.holder, 'term', whole(is.term), 'where', is.where,
    'leaving', whole(is.leaving), 'number', whole(is.number), 'taken', whole(is.taken),
    'fence', whole(is.fence), 'wanted', whole(is.wanted), 'victims', is.victims,
    'told', is.told, 'at', whole(is.at))
  redis.call('PEXPIRE', deed, KEEP_MS)
  if aloud then
    redis.call('PUBLISH', channel, act .. ' ' .. endpoint)
  end
end

if verb == 'look' then
  return reply(1)
elseif verb == 'claim' then
  local term = tonumber(ARGV[9])
  if is.holder ~= ARGV[5] or is.term ~= tonumber(ARGV[6]) or term <= is.term then
    return reply(0)
  end
  local number = math.max(is.number, tonumber(ARGV[7]))
  is.holder, is.term, is.where, is.leaving = act, term, ARGV[11], 0
  is.fence = math.max(is.fence, tonumber(ARGV[8])) + 1
  if ARGV[10] ~= '-1' then
    is.number, is.taken = number + 1, number
    is.wanted, is.victims, is.told, is.at = tonumber(ARGV[10]), '', ARGV[12], now
  end
  write(true)
  return reply(1)
elseif verb == 'order' then
  local wanted, before = tonumber(ARGV[5]), tonumber(ARGV[8])
  if is.holder == '' or is.leaving == 1 then
    return reply('nobodys')
  elseif ARGV[7] ~= '' and ARGV[7] ~= whole(is.term) .. '.' .. whole(is.fence) then
    return reply('outdated')
  elseif before >= 0 and before ~= is.wanted then
    return reply('taken')
  end
  if wanted < is.wanted then
    is.victims = is.victims .. ARGV[6]
  end
  is.number, is.fence, is.wanted = is.number + 1, is.fence + 1, wanted
  write(true)
  return reply('taken')
elseif verb == 'revive' then
  is.fence = is.fence + 1
  write(true)
  return reply(1)
end

if is.holder ~= act or is.term ~= tonumber(ARGV[5]) then
  return reply(0)
elseif verb == 'tell' then
  local taken = tonumber(ARGV[6])
  if taken >= is.number then
    is.wanted, is.victims = tonumber(ARGV[7]), ''
  end
  is.taken, is.leaving, is.told, is.at = taken, tonumber(ARGV[8]), ARGV[9], now
  write(ARGV[10] == '1')
  return reply(1)
end
if is.number > tonumber(ARGV[6]) and is.leaving == 0 then
  return reply(0)
end
is.holder, is.where, is.leaving, is.taken, is.wanted = '', '', 0, is.number, 0
is.victims, is.told, is.at = '', ARGV[7], now
write(true)
return reply(1)
