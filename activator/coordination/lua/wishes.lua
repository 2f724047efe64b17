-- The pauses that operators have ordered, of all endpoints: the rules of core/standing.py, atomically.
--
-- KEYS  wishes  HASH  endpoint -> "1 NUMBER PAUSED SEEN", 1 being the version of the record, SEEN the
--                     ms in which an activator named the endpoint last; one that has been resumed
--                     stays, so that nobody who has missed it pauses it again
-- ARGV  channel, 'order', endpoint, 1 to pause or 0, highest number known
--       | channel, 'meet', (endpoint, number, 1 or 0)…, what the caller has and knows of it
-- Reply a flat list: endpoint, number, 1 or 0; of the one, or of all that there are then

local wishes, channel, verb = KEYS[1], ARGV[1], ARGV[2]
local KEEP_MS = 30 * 86400000 -- activators name what they have every hour
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- number, paused, seen; no number if a newer version keeps it
local function read(record)
  if not record then
    return 0, '0', now
  end
  local number, paused, seen = string.match(record, '^1 (%d+) ([01]) (%d+)$')
  return tonumber(number), paused, tonumber(seen)
end

local function write(endpoint, number, paused)
  redis.call('HSET', wishes, endpoint, string.format('1 %.0f %s %.0f', number, paused, now))
  redis.call('PEXPIRE', wishes, KEEP_MS)
end

local function call_out(endpoint, number, paused)
  local said = {v = 1, k = 'ordered', e = endpoint, n = string.format('%.0f', number), p = tonumber(paused)}
  redis.call('PUBLISH', channel, cjson.encode(said))
end

if verb == 'order' then
  local endpoint, paused = ARGV[3], ARGV[4]
  local number = read(redis.call('HGET', wishes, endpoint))
  if not number then
    return redis.error_reply('VERSION the pauses are kept by a newer version')
  end
  number = math.max(number + 1, ARGV[5] + 1, now)
  write(endpoint, number, paused)
  call_out(endpoint, number, paused)
  return {endpoint, string.format('%.0f', number), paused}
end

local theirs = {}
for i = 3, #ARGV, 3 do
  theirs[ARGV[i]] = {number = tonumber(ARGV[i + 1]), paused = ARGV[i + 2]}
end

local reply = {}
local function tell(endpoint, number, paused)
  reply[#reply + 1] = endpoint
  reply[#reply + 1] = string.format('%.0f', number)
  reply[#reply + 1] = paused
end

local records = redis.call('HGETALL', wishes)
for i = 1, #records, 2 do
  local endpoint = records[i]
  local number, paused, seen = read(records[i + 1])
  local known = theirs[endpoint]
  if not number then -- a newer version's: not ours to read or to change
    theirs[endpoint] = nil
  elseif known and known.number <= number then
    write(endpoint, number, paused)
    tell(endpoint, number, paused)
    theirs[endpoint] = nil
  elseif not known and seen < now - KEEP_MS then
    redis.call('HDEL', wishes, endpoint)
  elseif not known then
    tell(endpoint, number, paused)
  end
end

-- what is left is later than what the store has kept, or it has kept nothing
for endpoint, known in pairs(theirs) do
  if known.number > 0 then
    write(endpoint, known.number, known.paused)
    call_out(endpoint, known.number, known.paused)
    tell(endpoint, known.number, known.paused)
  end
end
return reply
