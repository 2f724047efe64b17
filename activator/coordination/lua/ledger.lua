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
--                    "a:ACTIVATOR" -> its replicas, after a "\t" while it is held: it has them, and
--                    is given nothing there; "v" -> version of all this; "m" -> "BORN GRACE WAITING
--                    OFFERED": the name of this ledger's life, ms until which nobody is given
--                    anything (0: that was never so, 1: it is over), and the sizes of line and off,
--                    which spare the usual call a look;
--                    "k" -> list of activators that keep slots of theirs for requests to come: to the
--                    ledger these are in flight. Who does is told when somebody finds none, and is
--                    on the list no more
--       off    ZSET  member that was offered a slot -> ms of the offer, +inf once it has missed it
-- ARGV  activator, limit (0: none, only what is paced counts), balance, the list of version, endpoint and
--       channel prefix, operations…
-- Lists within a value are separated by "\n".
--
-- Reply one string (a client parses it at once), its parts separated by "\t", lists within by "\n":
--       status, born, ms until time changes something or -1, p if something is paced and w if
--       somebody waits, answers (one for each A, W and T: a replica or nothing), in flight (replica,
--       count, …), grants to the caller (seq, replica, …), offers and misses (seq, o or m,
--       replica, …) if they were asked for
--
-- Every warm request of a limited endpoint comes through here, to take a slot that is free and to give
-- it back, with nobody in line. That is a branch of its own: Lua makes functions anew on each call, and
-- making the thirty that the other branch needs takes longer than all that this one does. There a
-- table costs half as much as a command, and so does a number that is read or written.

local line, tick, state, off = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local me, limit, balance = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local WIDE_OPEN = 256 -- window at which pacing ends where there is no limit
local widest = limit > 0 and limit or WIDE_OPEN
if limit == 0 then
  limit = math.huge
end
local LOAD_FACTOR = 1.25
local COLON, TAB, R, ZERO = 58, 9, 114, 48

local call, match, byte, sub = redis.call, string.match, string.byte, string.sub

local version
local kept = ' 0 0 0'
local keepers = ''
local offers = {}  -- activator -> its replicas, as they are stored; those missing are no members
local turn, paced = 0, 0
local replicas = {}  -- id -> in flight at it, turn of its latest grant, how many it may have, how it is paced
do
  local flat = call('HGETALL', state)
  for i = 1, #flat, 2 do
    local name, value = flat[i], flat[i + 1]
    if byte(name, 2) == COLON then
      if byte(name) == R then
        local n, t, pace = match(value, '^(%d+) (%d+) (.*)$')
        t = tonumber(t)
        replicas[sub(name, 3)] = {n = tonumber(n), turn = t, most = limit, pace = pace, changed = false}
        if t > turn then
          turn = t
        end
        if byte(pace) ~= ZERO then
          paced = paced + 1
        end
      else
        offers[sub(name, 3)] = value
      end
    elseif name == 'm' then
      kept = value
    elseif name == 'v' then
      version = value
    elseif name == 'k' then
      keepers = value
    end
  end
end
if not offers[me] and ARGV[5] ~= 'D' and ARGV[5] ~= 'L' then
  return 'unknown'
end

local function split(text)
  if not string.find(text, '\n', 1, true) then
    return text ~= '' and {text} or {}
  end
  local parts = {}
  for part in string.gmatch(text, '[^\n]+') do
    parts[#parts + 1] = part
  end
  return parts
end

-- Of a list of replicas, some of which may be gone: one with a free slot, or nil. `liked`: a list as
-- text. `all`: those that are offered, over which what is in flight at one that is liked is bounded.
local function choose(able, liked, all)
  if liked ~= '' then
    local fit, count, load = {}, 0, 1
    for _, id in ipairs(able) do
      fit[id] = replicas[id]
    end
    for _, id in ipairs(all) do
      if replicas[id] then
        count, load = count + 1, load + replicas[id].n
      end
    end
    local bound = LOAD_FACTOR * load / count
    for _, id in ipairs(split(liked)) do
      if fit[id] then
        if fit[id].n < fit[id].most and (balance ~= 'prefix_hash' or fit[id].n < bound) then
          return id
        elseif balance ~= 'prefix_hash' then
          break
        end
      end
    end
  end
  local best, one
  for _, id in ipairs(able) do
    local other = replicas[id]
    if other and other.n < other.most then
      if balance == 'first_available' then
        return id
      elseif not one or (balance == 'round_robin' and other.turn < one.turn) or (balance ~= 'round_robin'
          and (other.n < one.n or (other.n == one.n and other.turn < one.turn))) then
        best, one = id, other
      end
    end
  end
  return best
end

local wake, rest, some_wait = '-1', '\t', ''
local answers = {}
local at = 5

-- Slots to take and to give back, as long as it is only that, and a free one for each that is asked for.
local usual = paced == 0 and (sub(kept, -6) == ' 0 0 0' or sub(kept, -6) == ' 1 0 0')

-- a first write that needs no memory: after it a full Redis refuses none, so that slots go on being
-- exact while what waits in it is worked off. Giving back is such a write itself
if not usual or ARGV[5] ~= 'R' then
  call('HDEL', state, '')
end

if usual then
  local mine = byte(offers[me] or '\t') ~= TAB and split(offers[me]) or {}
  while true do
    local op, id = ARGV[at], nil
    if op == 'R' then  -- seq replica
      id = ARGV[at + 2]
      local replica = replicas[id]
      if call('HDEL', tick, me .. ':' .. ARGV[at + 1]) == 1 and replica then
        replica.n = math.max(0, replica.n - 1)
        replica.changed = true
      end
      at = at + 3
    else
      if op == 'A' then  -- seq score, 1 if it would wait
        id = choose(mine, '')
      elseif op == 'W' and ARGV[at + 4] == '' then  -- seq score, 1 if it would wait, excluded liked
        id = choose(mine, ARGV[at + 5], mine)
      end
      if not id then
        break
      end
      local replica = replicas[id]
      turn = turn + 1
      replica.n, replica.turn, replica.changed = replica.n + 1, turn, true
      call('HSET', tick, me .. ':' .. ARGV[at + 1], 'g\t' .. id)
      answers[#answers + 1] = id
      at = at + (op == 'A' and 4 or 6)
    end
  end
  usual = at > #ARGV
end

if not usual then
  local asked_for, endpoint, channel = match(ARGV[4], '^(.*)\n(.*)\n(.*)$')
  if version and version ~= asked_for then
    return 'version'
  end
  local born, grace, waiting, offered = match(kept, '^(%S*) (%d+) (%d+) (%d+)$')
  grace, waiting, offered = tonumber(grace), tonumber(waiting), tonumber(offered)
  local grants, told = {}, {}
  local lasts = false  -- the keys are to live on
  local refused = false
  local OFFER_MS, STEP_MS, GRACE_MS, KEEP_MS = 1000, 1000, 1500, 3600000
  local NEWS_MS = 250 -- within which every activator has probed a replica that has just been started
  local PAGE = 64
  local clock = call('TIME')
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  local function set_window(replica, window)
    replica.window = window
    replica.most = window > 0 and window < widest and window or limit
  end
  for _, replica in pairs(replicas) do
    local window, step = match(replica.pace, '(%d+) (%d+)')
    set_window(replica, tonumber(window))
    replica.step = tonumber(step)
  end

  local function is_free(replica)
    return replica.n < replica.most
  end

  local lists = {}  -- activator -> its replicas, once they are wanted as a list

  local function is_held(activator)
    return byte(offers[activator]) == TAB
  end

  local function list_of(activator)
    local list = lists[activator]
    if not list then
      list = split(is_held(activator) and sub(offers[activator], 2) or offers[activator])
      lists[activator] = list
    end
    return list
  end

  -- A slot for a ticket of this activator, or nil. `excluded`, `liked`: lists as text.
  local function slot_for(activator, excluded, liked)
    if not offers[activator] or is_held(activator) then
      return nil
    end
    local all = list_of(activator)
    local able = all
    if excluded ~= '' then
      local not_these = {}
      for _, id in ipairs(split(excluded)) do
        not_these[id] = true
      end
      able = {}
      for _, id in ipairs(all) do
        if not not_these[id] then
          able[#able + 1] = id
        end
      end
    end
    return choose(able, liked, all)
  end

  local function take_slot(id)
    local replica = replicas[id]
    turn = turn + 1
    replica.n, replica.turn, replica.changed = replica.n + 1, turn, true
  end

  local function free_slot(id)
    local replica = replicas[id]
    if replica then
      replica.n = math.max(0, replica.n - 1)
      replica.changed = true
    end
  end

  -- It leaves, whatever it was.
  local function give_up(member)
    local record = call('HGET', tick, member)
    call('HDEL', tick, member)
    if not record then
      return
    end
    local kind = sub(record, 1, 1)
    if kind == 'w' or kind == 'c' then
      waiting = waiting - call('ZREM', line, member)
      return
    end
    if kind ~= 'g' then
      offered = offered - call('ZREM', off, member)
    end
    if kind ~= 'm' then
      free_slot(sub(record, 3))
    end
  end

  local function widen(replica, from)
    local window = replica.window * 2
    if window >= widest then
      window = 0
      paced = paced - 1
    end
    set_window(replica, window)
    replica.step = from + STEP_MS
    replica.changed = true
  end

  local function catch_up()
    for _, replica in pairs(replicas) do
      while replica.window > 0 and (now >= replica.step or replica.window >= widest) do
        widen(replica, replica.step)
      end
    end
  end

  local function pass_on_missed()
    for _, member in ipairs(call('ZRANGEBYSCORE', off, '-inf', now - OFFER_MS)) do
      local replica = match(call('HGET', tick, member) or '', '^o\t(.*)')
      if replica then
        free_slot(replica)
        call('HSET', tick, member, 'm')
        call('ZADD', off, '+inf', member)
      end
    end
  end

  -- Replicas that somebody may be given, and those that somebody has; nil: to be found out anew.
  local present, had
  local function look_around()
    present, had = {}, {}
    for activator in pairs(offers) do
      local held = is_held(activator)
      for _, id in ipairs(list_of(activator)) do
        had[id] = true
        if not held then
          present[id] = true
        end
      end
    end
  end

  local function is_present(id)
    if not present then
      look_around()
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
    local owner, seq = match(member, '^(.-):(.*)$')
    take_slot(id)
    call('ZREM', line, member)
    waiting = waiting - 1
    if owner == me then
      call('HSET', tick, member, 'g\t' .. id)
      grants[#grants + 1] = seq
      grants[#grants + 1] = id
    else
      call('HSET', tick, member, 'o\t' .. id)
      offered = offered + call('ZADD', off, now, member)
      call('PUBLISH', channel .. owner, endpoint .. '\n' .. seq .. '\n' .. id)
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
      call('HDEL', tick, member)
      waiting = waiting - call('ZREM', line, member)
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
    if offers[activator] and not is_held(activator) then
      for _, id in ipairs(list_of(activator)) do
        known[id] = true
      end
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
    local size = 2  -- mostly one slot has come free, and is for the first
    while waiting > passed and any_free() do
      local page = call('ZRANGE', line, passed, passed + size - 1)
      size = PAGE
      if #page == 0 then
        return
      end
      for _, member in ipairs(page) do
        local record = call('HGET', tick, member) or ''
        local kind, excluded, liked, since = match(record, '^(.)\t(.-)\t(.-)\t(%d+)$')
        local owner = match(member, '^(.-):')
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

  local function drop_all(activator)
    local prefix = activator .. ':'
    for _, member in ipairs(call('HKEYS', tick)) do
      if sub(member, 1, #prefix) == prefix then
        give_up(member)
      end
    end
  end

  -- Replicas that nobody has any more, and that have nothing in flight.
  local function forget_the_gone()
    look_around()
    for id, replica in pairs(replicas) do
      if not had[id] and replica.n == 0 then
        if replica.window > 0 then
          paced = paced - 1
        end
        replicas[id] = nil
        call('HDEL', state, 'r:' .. id)
      end
    end
  end

  local function offer(activator, text)
    call('HSET', state, 'a:' .. activator, text)
    offers[activator], lists[activator], present = text, nil, nil
  end

  local function keep(activator, does)
    local list = {}
    for _, other in ipairs(split(keepers)) do
      if other ~= activator then
        list[#list + 1] = other
      end
    end
    if does then
      list[#list + 1] = activator
    end
    keepers = table.concat(list, '\n')
    call('HSET', state, 'k', keepers)
  end

  local function forget(activator)
    call('HDEL', state, 'a:' .. activator)
    if keepers ~= '' then
      keep(activator, false)
    end
    offers[activator], lists[activator] = nil, nil
    forget_the_gone()
  end


  catch_up()
  if offered > 0 then
    pass_on_missed()
  end

  while at <= #ARGV do
    local op = ARGV[at]
    if op == 'A' or op == 'W' then  -- seq score, 1 if it would wait; W: excluded liked: a slot now?
      if waiting > 0 then
        settle()
      end
      local member, excluded, liked = me .. ':' .. ARGV[at + 1], '', ''
      if op == 'W' then
        excluded, liked = ARGV[at + 4], ARGV[at + 5]
      end
      local id = now >= grace and slot_for(me, excluded, liked)
      if id then
        take_slot(id)
        call('HSET', tick, member, 'g\t' .. id)
      else
        refused = true
        if ARGV[at + 3] == '1' then
          call('HSET', tick, member, table.concat({'c', excluded, liked, now}, '\t'))
          waiting = waiting + call('ZADD', line, ARGV[at + 2], member)
        end
      end
      answers[#answers + 1] = id or ''
      at = at + (op == 'A' and 4 or 6)
    elseif op == 'R' then  -- seq replica: give back a slot of this one
      give_up(me .. ':' .. ARGV[at + 1])
      if waiting > 0 then
        settle()  -- before whoever gives it back enters the line anew
      end
      at = at + 3
    elseif op == 'X' then  -- seq: give up whatever it is
      give_up(me .. ':' .. ARGV[at + 1])
      at = at + 2
    elseif op == 'E' then  -- seq score excluded liked: a place in line
      local member = me .. ':' .. ARGV[at + 1]
      local record = call('HGET', tick, member) or ''
      local kind = sub(record, 1, 1)
      if kind == 'g' or kind == 'o' then  -- it has a slot, and may have let the news of it pass
        if kind == 'o' then
          call('HSET', tick, member, 'g' .. sub(record, 2))
          offered = offered - call('ZREM', off, member)
        end
        grants[#grants + 1] = ARGV[at + 1]
        grants[#grants + 1] = sub(record, 3)
      else
        call('HSET', tick, member, table.concat({'w', ARGV[at + 3], ARGV[at + 4], now}, '\t'))
        if kind == 'm' then
          offered = offered - call('ZREM', off, member)
        end
        waiting = waiting + call('ZADD', line, ARGV[at + 2], member)
      end
      at = at + 5
    elseif op == 'T' then  -- seq: take up an offer
      local member = me .. ':' .. ARGV[at + 1]
      local id = match(call('HGET', tick, member) or '', '^o\t(.*)')
      if id then
        call('HSET', tick, member, 'g\t' .. id)
        offered = offered - call('ZREM', off, member)
      end
      answers[#answers + 1] = id or ''
      at = at + 2
    elseif op == 'F' then  -- replica: a first byte of it has come
      local replica = replicas[ARGV[at + 1]]
      if replica and replica.window > 0 then
        widen(replica, now)
      end
      at = at + 2
    elseif op == 'O' then  -- 1 if held, count, then (replica, 1 if it was just started) each: what I have
      local mine = {}
      local last = at + 2 + 2 * ARGV[at + 2]
      forget_the_gone()  -- one whose last request has ended since is another when it comes back
      for i = at + 3, last, 2 do
        local id = ARGV[i]
        mine[#mine + 1] = id
        if not replicas[id] then
          local window = ARGV[i + 1] == '1' and limit > 1 and 1 or 0
          replicas[id] = {n = 0, turn = 0, step = now + STEP_MS, changed = true}
          set_window(replicas[id], window)
          paced = paced + window
        end
      end
      offer(me, (ARGV[at + 1] == '1' and '\t' or '') .. table.concat(mine, '\n'))
      forget_the_gone()
      lasts = true
      at = last + 1
    elseif op == 'C' then  -- what have I not heard of?
      for _, member in ipairs(call('ZRANGE', off, 0, -1)) do
        local owner, seq = match(member, '^(.-):(.*)$')
        if owner == me then
          local kind, replica = match(call('HGET', tick, member) or 'm', '^(.)\t?(.*)$')
          told[#told + 1] = seq
          told[#told + 1] = kind
          told[#told + 1] = replica
        end
      end
      waiting, offered = call('ZCARD', line), call('ZCARD', off)
      forget_the_gone()
      lasts = true
      at = at + 1
    elseif op == 'D' then  -- born as I knew it, a name if there is none: what follows is all that I have
      drop_all(me)
      if born == '' then
        born = ARGV[at + 2]
        call('HSET', state, 'v', asked_for)
      end
      if ARGV[at + 1] ~= '' and ARGV[at + 1] ~= born and grace == 0 then
        -- the store has forgotten: nobody gets a slot before the others have said what they have
        grace = now + GRACE_MS
      end
      offer(me, '')
      if keepers ~= '' then
        keep(me, false)
      end
      lasts = true
      at = at + 3
    elseif op == 'G' then  -- seq replica: I have this in flight
      local id = ARGV[at + 2]
      if not replicas[id] then
        replicas[id] = {n = 0, turn = 0, window = 0, most = limit, step = 0}
      end
      take_slot(id)
      call('HSET', tick, me .. ':' .. ARGV[at + 1], 'g\t' .. id)
      at = at + 3
    elseif op == 'K' then  -- I keep slots that are in flight here for requests to come
      keep(me, true)
      at = at + 1
    elseif op == 'B' then  -- activator: it is silent, its slots pass on
      local silent = ARGV[at + 1]
      if silent ~= me and offers[silent] then
        drop_all(silent)
        forget(silent)
      end
      at = at + 2
    elseif op == 'L' then  -- I leave
      drop_all(me)
      forget(me)
      at = at + 1
    else
      return redis.error_reply('ERR unknown operation ' .. tostring(op))
    end
  end

  if waiting > 0 then
    settle()
  end
  forget_kept_free()
  if keepers ~= '' and (refused or waiting > 0) then
    for _, activator in ipairs(split(keepers)) do
      if activator ~= me then  -- who asks hears it from the answer
        call('PUBLISH', channel .. activator, endpoint .. '\n\n')
      end
    end
    call('HDEL', state, 'k')
  end

  for _, replica in pairs(replicas) do
    replica.pace = string.format('%d %d', replica.window, replica.step)
  end
  if waiting > 0 then
    some_wait = 'w'
    local soonest
    local function by(moment)
      local ms = math.max(1, math.ceil(moment - now))
      if not soonest or ms < soonest then
        soonest = ms
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
    local oldest = call('ZRANGEBYSCORE', off, '(' .. (now - OFFER_MS), '(+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if oldest[2] then
      by(oldest[2] + OFFER_MS)
    end
    wake = soonest or wake
  end
  if now >= grace and grace > 0 then
    grace = 1
  end
  kept = string.format('%s %d %d %d', born, grace, waiting, offered)
  call('HSET', state, 'm', kept)
  if lasts then
    for _, key in ipairs(KEYS) do
      call('PEXPIRE', key, KEEP_MS)
    end
  end
  rest = table.concat(grants, '\n') .. '\t' .. table.concat(told, '\n')
end

local busy = {}
for id, replica in pairs(replicas) do
  if replica.changed then
    call('HSET', state, 'r:' .. id, string.format('%d %d %s', replica.n, replica.turn, replica.pace))
  end
  busy[#busy + 1] = id
  busy[#busy + 1] = replica.n
end

if not offers[me] then
  if next(offers) == nil then
    call('DEL', unpack(KEYS))
  end
  return 'left'
end
return 'ok\t' .. match(kept, '^%S*') .. '\t' .. wake .. (paced > 0 and '\tp' or '\t') .. some_wait .. '\t'
  .. table.concat(answers, '\n') .. '\t' .. table.concat(busy, '\n') .. '\t' .. rest
