-- What time has done, in bounded steps; and what must be kept alive is.
-- ARGV  how many jobs to look at
-- Reply {1 if there is more, deleted, jobs that this activator reads, seconds until time does more or '',
--       1 if webhooks are due, job that has ended, …}
local most, UPLOADS = tonumber(ARGV[7]), 60
if call('EXISTS', all, up, acts, meta, bytes) == 0 then  -- there are no jobs
  return {0, 0, 0, '', 0}
end
write_anyway()

local function delete(job)
  local id = job.id
  free_key(job)
  call('DECRBY', bytes, job.rm)
  call('HINCRBY', meta, 'n:' .. job.s, -1)
  for _, act in ipairs(call('SMEMBERS', acts)) do
    if call('SREM', of('reads', act), id) == 1 then
      forget_activator(act)
    end
  end
  call('UNLINK', of('job', id), of('env', id), of('body', id), of('out', id), of('ev', id))
  for _, name in ipairs({line, later, held, all, due, hooks}) do
    call('ZREM', name, id)
  end
  call('PUBLISH', told .. ':' .. id, '')
end

-- Jobs have ended by their expiry: nobody has swept for long.
local function recount()
  local sum, states = 0, {}
  for _, id in ipairs(call('ZRANGE', all, 0, -1)) do
    local values = call('HMGET', of('job', id), 'rm', 's')
    sum = sum + (values[1] or 0)
    if values[2] then
      states[values[2]] = (states[values[2]] or 0) + 1
    end
  end
  for _, size in ipairs(call('HVALS', up)) do
    sum = sum + size
  end
  local age = call('HGET', meta, 'age')
  call('DEL', meta)
  call('SET', bytes, sum)
  if age then
    call('HSET', meta, 'age', age)
  end
  for state, count in pairs(states) do
    call('HSET', meta, 'n:' .. state, count)
  end
end

for _, id in ipairs(call('HKEYS', up)) do
  if call('EXISTS', of('body', id)) == 0 then
    call('DECRBY', bytes, call('HGET', up, id))
    call('HDEL', up, id)
  end
end

local reply, deleted, vanished = {0, 0, 0, '', 0}, 0, false
local ids = call('ZRANGEBYSCORE', due, '-inf', stamp(now), 'LIMIT', 0, most)
for _, id in ipairs(ids) do
  local job, why = load(id)
  if not job then
    if why == 'version' then
      call('ZADD', due, stamp(now + 60), id)
    else
      vanished = true
      for _, name in ipairs({line, later, held, all, due, hooks}) do
        call('ZREM', name, id)
      end
      call('SREM', awaited, id)
    end
  elseif ENDED[job.s] then
    if now >= job.en + retention then
      delete(job)
      deleted = deleted + 1
    else
      save(job)
    end
  else
    if job.un ~= '0' and now >= job.un + grace then
      let_go(job)
      finish(job, 'cancelled', 'unread', 'nobody has waited for its answer for jobs.joinGrace')
      reply[#reply + 1] = shown(job)
    elseif WAITING[job.s] and now >= tonumber(job.x) then
      let_go(job)
      finish(job, 'expired', 'expired', 'it has not begun within jobs.ttl')
      reply[#reply + 1] = shown(job)
    end
    save(job)
  end
end
if vanished then
  recount()
end

for _, id in ipairs(call('SMEMBERS', of('claims', me))) do
  local job, why = load(id)
  if job then
    keep(job)
  elseif why == 'none' then
    call('SREM', of('claims', me), id)
  end
end
for _, act in ipairs(call('SMEMBERS', acts)) do
  lives(of('claims', act))
  lives(of('reads', act))
  forget_activator(act)
end
if call('EXISTS', all, up) == 0 then
  call('DEL', meta, bytes)
end
for _, name in ipairs({line, later, held, awaited, all, due, hooks, meta, up, acts, bytes}) do
  lives(name)
end
reply[1], reply[2], reply[3] = #ids == most and 1 or 0, deleted, call('SCARD', of('reads', me))
local again = call('EXISTS', up) == 1 and now + UPLOADS or math.huge
local next = call('ZRANGE', due, 0, 0, 'WITHSCORES')
if #next > 0 then
  again = math.min(again, next[2])
end
reply[5] = call('ZCOUNT', hooks, '-inf', stamp(now)) > 0 and 1 or 0
next = call('ZRANGEBYSCORE', hooks, '(' .. stamp(now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
if #next > 0 then
  again = math.min(again, next[2])
end
if again < math.huge then
  reply[4] = stamp(math.max(0, again - now))
end
return reply
