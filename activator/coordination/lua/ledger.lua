-- The line and the slots of one endpoint over all activators: what core/dispatch.py decides, atomically.
--
-- A call is a batch of operations of one activator, in order. After it nobody waits who could have
-- a slot, but for those whose slot only time opens; the reply says when.
--
-- KEYS  line   ZSET  member -> score; a member is ACTIVATOR:SEQ
--       tick   HASH  member -> "w\tEXCLUDED\tLIKED\tMS" (waits since) | "c\t…" (the same, but has only
--                    just been told that it must: nobody overtakes it before it says whether it
--                    does) | "o\tREPLICA" (offered a slot and has not taken it up) | "m" (missed its
--                    offer) | "g\tREPLICA" (in flight)
--       state  HASH  "r:REPLICA" -> "IN_FLIGHT TURN WINDOW NEXT_STEP_MS", a window of 0 is not paced;
--                    "a:ACTIVATOR" -> its replicas; "v" -> version of all this; "born" -> name of this
--                    ledger's life; "grace" -> ms until which nobody is given anything; "waiting",
--                    "offered" -> sizes of line and off, which spare the usual call two look-ups
--       off    ZSET  member that was offered a slot -> ms of the offer, +inf once it has missed it
-- ARGV  version, activator, limit (0: none, only what is paced counts), balance, endpoint, channel prefix, operations…
-- Lists within a value are separated by "\n".
--
-- Reply one string (a client parses it at once), its parts separated by "\t", lists within by "\n":
--       status, born, ms until time changes something or -1, 1 if something is paced, results (one
--       an operation), grants to the caller (seq, replica, …), in flight (replica, count, …),
--       offers and misses (seq, o or m, replica, …) if they were asked for

local line, tick, state, off = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local me, limit, balance, endpoint, channel = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
local WIDE_OPEN = 256 -- window at which pacing ends where there is no limit
local widest = limit > 0 and limit or WIDE_OPEN
if limit == 0 then
  limit = math.huge
end
local OFFER_MS, STEP_MS, GRACE_MS, KEEP_MS = 1000, 1000, 1500, 3600000
local NEWS_MS = 250 -- within which every activator has probed a replica that has just been started
local PAGE = 64
local LOAD_FACTOR = 1.25

-- a first write that needs no memory: after it a full Redis refuses none, so that slots go on being
-- exact while what waits in it is worked off
redis.call('HDEL', state, '')
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function split(text)
  local parts = {}
  for part in string.gmatch(text, '[^\n]+') do
    parts[#parts + 1] = part
  end
  return parts
end

local offers = {}  -- activator -> its replicas; those missing are no members
local replicas, changed, turn = {}, {}, 0
local paced = 0
local kept = {}  -- the rest of the state
do
  local flat = redis.call('HGETALL', state)
  for i = 1, #flat, 2 do
    local kind, value = string.sub(flat[i], 1, 2), flat[i + 1]
    if kind == 'r:' then
      local n, t, window, step = string.match(value, '(%d+) (%d+) (%d+) (%d+)')
      local replica = {n = tonumber(n), turn = tonumber(t), window = tonumber(window), step = tonumber(step)}
      replicas[string.sub(flat[i], 3)] = replica
      turn = math.max(turn, replica.turn)
      if replica.window > 0 then
        paced = paced + 1
      end
    elseif kind == 'a:' then
      offers[string.sub(flat[i], 3)] = split(value)
    else
      kept[flat[i]] = value
    end
  end
end
if kept.v and kept.v ~= ARGV[1] then
  return 'version'
end
local born, grace = kept.born, tonumber(kept.grace or '0')
local waiting, offered = tonumber(kept.waiting or '0'), tonumber(kept.offered or '0')

local grants = {}

local function widen(id, replica, at)
  replica.window = replica.window * 2
  replica.step = at + STEP_MS
  if replica.window >= widest then
    replica.window = 0
    paced = paced - 1
  end
  changed[id] = true
end

local function catch_up()
  if paced == 0 then
    return
  end
  for id, replica in pairs(replicas) do
    while replica.window > 0 and (now >= replica.step or replica.window >= widest) do
      widen(id, replica, replica.step)
    end
  end
end

local function is_free(replica)
  local most = limit
  if replica.window > 0 and replica.window < widest then
    most = replica.window
  end
  return replica.n < most
end

local function least_loaded(able)
  local best
  for _, id in ipairs(able) do
    local one, other = replicas[id], best and replicas[best]
    if is_free(one) and (not best or one.n < other.n or (one.n == other.n and one.turn < other.turn)) then
      best = id
    end
  end
  return best
end

-- `bound`: on what is in flight at one that is liked, as prefix_hash has it: over all that are offered
local function choose(able, liked, bound)
  if balance == 'prefix_hash' and liked then
    for _, id in ipairs(liked) do
      local replica = replicas[id]
      if able[id] and is_free(replica) and replica.n < bound then
        return id
      end
    end
    return least_loaded(able)
  end
  if liked then
    for _, id in ipairs(liked) do
      if able[id] then
        if is_free(replicas[id]) then
          return id
        end
        break
      end
    end
  end
  if balance == 'first_available' then
    for _, id in ipairs(able) do
      if is_free(replicas[id]) then
        return id
      end
    end
    return nil
  elseif balance == 'round_robin' then
    local best
    for _, id in ipairs(able) do
      if is_free(replicas[id]) and (not best or replicas[id].turn < replicas[best].turn) then
        best = id
      end
    end
    return best
  end
  return least_loaded(able)
end

-- A slot for a ticket of this activator, or nil. `excluded`, `liked`: lists as text.
local function slot_for(activator, excluded, liked)
  local mine = offers[activator]
  if not mine then
    return nil
  end
  local not_these = {}
  for _, id in ipairs(split(excluded)) do
    not_these[id] = true
  end
  local able, count, load = {}, 0, 1
  for _, id in ipairs(mine) do
    if replicas[id] then
      count, load = count + 1, load + replicas[id].n
      if not not_these[id] then
        able[#able + 1] = id
        able[id] = true
      end
    end
  end
  return choose(able, liked ~= '' and split(liked) or nil, LOAD_FACTOR * load / count)
end

local function take_slot(id)
  local replica = replicas[id]
  turn = turn + 1
  replica.n, replica.turn = replica.n + 1, turn
  changed[id] = true
end

local function free_slot(id)
  local replica = replicas[id]
  if replica then
    replica.n = math.max(0, replica.n - 1)
    changed[id] = true
  end
end

local function pass_on_missed()
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', off, '-inf', now - OFFER_MS)) do
    local replica = string.match(redis.call('HGET', tick, member) or '', '^o\t(.*)')
    if replica then
      free_slot(replica)
      redis.call('HSET', tick, member, 'm')
      redis.call('ZADD', off, '+inf', member)
    end
  end
end

local present  -- replicas that somebody offers; nil: to be found out anew
local function is_present(id)
  if not present then
    present = {}
    for _, ids in pairs(offers) do
      for _, each in ipairs(ids) do
        present[each] = true
      end
    end
  end
  return present[id]
end

local function any_free()
  for id, replica in pairs(replicas) do
    if is_free(replica) and is_present(id) then
      return true
    end
  end
  return false
end

local function grant(member, id)
  local owner, seq = string.match(member, '^(.-):(.*)$')
  take_slot(id)
  redis.call('ZREM', line, member)
  waiting = waiting - 1
  if owner == me then
    redis.call('HSET', tick, member, 'g\t' .. id)
    grants[#grants + 1] = seq
    grants[#grants + 1] = id
  else
    redis.call('HSET', tick, member, 'o\t' .. id)
    offered = offered + redis.call('ZADD', off, now, member)
    redis.call('PUBLISH', channel .. owner, endpoint .. '\n' .. seq .. '\n' .. id)
  end
end

local kept_free = {}  -- replicas, one for each slot that somebody in front is about to ask for
local function forget_kept_free()
  for _, id in ipairs(kept_free) do
    replicas[id].n = replicas[id].n - 1
  end
  kept_free = {}
end

local function keep_free(member, id, since)
  if now - since > OFFER_MS then  -- whoever it is does not speak any more
    redis.call('HDEL', tick, member)
    waiting = waiting - redis.call('ZREM', line, member)
    return 0
  end
  if id then
    replicas[id].n = replicas[id].n + 1
    kept_free[#kept_free + 1] = id
  end
  return 1
end

-- Whether it was just started, so that an activator may not know it yet.
local function is_news(replica)
  return now < replica.step - STEP_MS + NEWS_MS
end

-- A free replica that the activator is about to know, or nil: who is first in line is not to be
-- overtaken because another activator's probe was answered some milliseconds sooner.
local function awaited(activator, excluded)
  local known = {}
  for _, id in ipairs(offers[activator] or {}) do
    known[id] = true
  end
  for _, id in ipairs(split(excluded)) do
    known[id] = true
  end
  for id, replica in pairs(replicas) do
    if not known[id] and is_news(replica) and is_free(replica) and is_present(id) then
      return id
    end
  end
end

local function settle()
  forget_kept_free()
  if now < grace then
    return
  end
  local passed = 0  -- in front, and no free replica is for them
  while waiting > passed and any_free() do
    local page = redis.call('ZRANGE', line, passed, passed + PAGE - 1)
    if #page == 0 then
      return
    end
    for _, member in ipairs(page) do
      local record = redis.call('HGET', tick, member) or ''
      local kind, excluded, liked, since = string.match(record, '^(.)\t(.-)\t(.-)\t(%d+)$')
      local owner = string.match(member, '^(.-):')
      local id = excluded and slot_for(owner, excluded, liked)
      if kind == 'c' then
        passed = passed + keep_free(member, id, since)
      elseif id then
        grant(member, id)
      else
        local soon = excluded and awaited(owner, excluded)
        if soon then
          replicas[soon].n = replicas[soon].n + 1
          kept_free[#kept_free + 1] = soon
        end
        passed = passed + 1
      end
      if not any_free() then
        return
      end
    end
  end
end

-- It leaves, whatever it was.
local function give_up(member)
  local record = redis.call('HGET', tick, member)
  if not record then
    return
  end
  redis.call('HDEL', tick, member)
  local kind = string.sub(record, 1, 1)
  if kind == 'w' or kind == 'c' then
    waiting = waiting - redis.call('ZREM', line, member)
    return
  end
  if kind ~= 'g' then
    offered = offered - redis.call('ZREM', off, member)
  end
  if kind ~= 'm' then
    free_slot(string.sub(record, 3))
  end
end

local function drop_all(activator)
  local prefix = activator .. ':'
  for _, member in ipairs(redis.call('HKEYS', tick)) do
    if string.sub(member, 1, #prefix) == prefix then
      give_up(member)
    end
  end
end

-- Replicas that nobody offers, and that have nothing in flight.
local function forget_the_gone()
  present = nil
  for id, replica in pairs(replicas) do
    if not is_present(id) and replica.n == 0 then
      if replica.window > 0 then
        paced = paced - 1
      end
      replicas[id], changed[id] = nil, nil
      redis.call('HDEL', state, 'r:' .. id)
    end
  end
end

local function keep()
  for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, KEEP_MS)
  end
end

if not offers[me] and ARGV[7] ~= 'D' and ARGV[7] ~= 'L' then
  return 'unknown'
end

catch_up()
if offered > 0 then
  pass_on_missed()
end

local results, told = {}, {}
local at = 7
local lasts = false  -- the keys are to live on
while at <= #ARGV do
  local op = ARGV[at]
  local result = ''
  if op == 'A' then  -- seq score excluded liked, 1 if it would wait: a slot now?
    if waiting > 0 then
      settle()
    end
    local member = me .. ':' .. ARGV[at + 1]
    local id = now >= grace and slot_for(me, ARGV[at + 3], ARGV[at + 4])
    if id then
      take_slot(id)
      redis.call('HSET', tick, member, 'g\t' .. id)
      result = id
    elseif ARGV[at + 5] == '1' then
      redis.call('HSET', tick, member, table.concat({'c', ARGV[at + 3], ARGV[at + 4], now}, '\t'))
      waiting = waiting + redis.call('ZADD', line, ARGV[at + 2], member)
    end
    at = at + 6
  elseif op == 'E' then  -- seq score excluded liked: a place in line
    local member = me .. ':' .. ARGV[at + 1]
    redis.call('HSET', tick, member, table.concat({'w', ARGV[at + 3], ARGV[at + 4], now}, '\t'))
    if offered > 0 then
      offered = offered - redis.call('ZREM', off, member)
    end
    waiting = waiting + redis.call('ZADD', line, ARGV[at + 2], member)
    at = at + 5
  elseif op == 'X' then  -- seq: withdraw or release
    give_up(me .. ':' .. ARGV[at + 1])
    at = at + 2
  elseif op == 'T' then  -- seq: take up an offer
    local member = me .. ':' .. ARGV[at + 1]
    local id = string.match(redis.call('HGET', tick, member) or '', '^o\t(.*)')
    if id then
      redis.call('HSET', tick, member, 'g\t' .. id)
      offered = offered - redis.call('ZREM', off, member)
      result = id
    end
    at = at + 2
  elseif op == 'F' then  -- replica: a first byte of it has come
    local replica = replicas[ARGV[at + 1]]
    if replica and replica.window > 0 then
      widen(ARGV[at + 1], replica, now)
    end
    at = at + 2
  elseif op == 'O' then  -- count, then (replica, 1 if it was just started) each: what I may forward to
    local mine = {}
    forget_the_gone()  -- one whose last request has ended since is another when it comes back
    for i = at + 2, at + 1 + 2 * ARGV[at + 1], 2 do
      local id = ARGV[i]
      mine[#mine + 1] = id
      if not replicas[id] then
        local window = ARGV[i + 1] == '1' and limit > 1 and 1 or 0
        replicas[id] = {n = 0, turn = 0, window = window, step = now + STEP_MS}
        paced = paced + window
        changed[id] = true
      end
    end
    redis.call('HSET', state, 'a:' .. me, table.concat(mine, '\n'))
    offers[me] = mine
    forget_the_gone()
    lasts = true
    at = at + 2 + 2 * ARGV[at + 1]
  elseif op == 'C' then  -- what have I not heard of?
    for _, member in ipairs(redis.call('ZRANGE', off, 0, -1)) do
      local owner, seq = string.match(member, '^(.-):(.*)$')
      if owner == me then
        local kind, replica = string.match(redis.call('HGET', tick, member) or 'm', '^(.)\t?(.*)$')
        told[#told + 1] = seq
        told[#told + 1] = kind
        told[#told + 1] = replica
      end
    end
    waiting, offered = redis.call('ZCARD', line), redis.call('ZCARD', off)
    forget_the_gone()
    lasts = true
    at = at + 1
  elseif op == 'D' then  -- born as I knew it, a name if there is none: what follows is all that I have
    drop_all(me)
    if not born then
      born = ARGV[at + 2]
      redis.call('HSET', state, 'born', born, 'v', ARGV[1])
    end
    if ARGV[at + 1] ~= '' and ARGV[at + 1] ~= born and grace == 0 then
      -- the store has forgotten: nobody gets a slot before the others have said what they have
      grace = now + GRACE_MS
      redis.call('HSET', state, 'grace', grace)
    end
    redis.call('HSET', state, 'a:' .. me, '')
    offers[me], present = {}, nil
    lasts = true
    at = at + 3
  elseif op == 'G' then  -- seq replica: I have this in flight
    local id = ARGV[at + 2]
    if not replicas[id] then
      replicas[id] = {n = 0, turn = 0, window = 0, step = 0}
    end
    take_slot(id)
    redis.call('HSET', tick, me .. ':' .. ARGV[at + 1], 'g\t' .. id)
    at = at + 3
  elseif op == 'B' then  -- activator: it is silent, its slots pass on
    if ARGV[at + 1] ~= me and offers[ARGV[at + 1]] then
      drop_all(ARGV[at + 1])
      redis.call('HDEL', state, 'a:' .. ARGV[at + 1])
      offers[ARGV[at + 1]] = nil
      forget_the_gone()
      result = 'buried'
    end
    at = at + 2
  elseif op == 'L' then  -- I leave
    drop_all(me)
    redis.call('HDEL', state, 'a:' .. me)
    offers[me] = nil
    forget_the_gone()
    at = at + 1
  else
    return redis.error_reply('ERR unknown operation ' .. tostring(op))
  end
  results[#results + 1] = result
end

if waiting > 0 then
  settle()
end

forget_kept_free()
local writes = {}
for id in pairs(changed) do
  local replica = replicas[id]
  if replica then
    writes[#writes + 1] = 'r:' .. id
    writes[#writes + 1] = string.format('%d %d %d %d', replica.n, replica.turn, replica.window, replica.step)
  end
end
if waiting ~= tonumber(kept.waiting) then
  writes[#writes + 1] = 'waiting'
  writes[#writes + 1] = waiting
end
if offered ~= tonumber(kept.offered) then
  writes[#writes + 1] = 'offered'
  writes[#writes + 1] = offered
end
if #writes > 0 then
  redis.call('HSET', state, unpack(writes))
end
if lasts then
  keep()
end

if not offers[me] then
  if next(offers) == nil then
    redis.call('DEL', unpack(KEYS))
  end
  return 'left'
end

local wake = -1
if waiting > 0 then
  local function by(moment)
    local ms = math.max(1, math.ceil(moment - now))
    if wake < 0 or ms < wake then
      wake = ms
    end
  end
  if now < grace then
    by(grace)
  end
  for _, replica in pairs(replicas) do
    if replica.window > 0 and not is_free(replica) then
      by(replica.step)
    end
    if is_news(replica) then
      by(replica.step - STEP_MS + NEWS_MS)
    end
  end
  local oldest = redis.call('ZRANGEBYSCORE', off, '(' .. (now - OFFER_MS), '(+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if oldest[2] then
    by(oldest[2] + OFFER_MS)
  end
end

local busy = {}
for id, replica in pairs(replicas) do
  busy[#busy + 1] = id
  busy[#busy + 1] = replica.n
end

return table.concat({
  'ok', born or '', wake, paced > 0 and '1' or '', table.concat(results, '\n'), table.concat(grants, '\n'),
  table.concat(busy, '\n'), table.concat(told, '\n'),
}, '\t')
