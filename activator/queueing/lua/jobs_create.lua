-- A new job, or the one that its key stands for. The pieces of its body are here, or come along.
-- ARGV  id, envelope, urgency, age, waited, detached, reading, key, fingerprint, most in line (0: any, -1: none),
--       holder or '', cold, has a webhook, pieces before, the last piece or '', bytes of the body, bytes that
--       the endpoint may have
-- Reply {'created', bytes that it has, place in line or '', job…} | {'joined', bytes that it has, record…} | {'room', bytes that it has} | {'conflict', id}
--       | {'full'} | {'lost'} | {'version'}
local id, envelope, scope, fingerprint = ARGV[7], ARGV[8], ARGV[14], ARGV[15]
local most, holder, cold, pieces, rest = tonumber(ARGV[16]), ARGV[17], ARGV[18], tonumber(ARGV[20]), ARGV[21]
local size = tonumber(ARGV[22])
local reading = ARGV[13] == '1'

local function reply(kind, job)
  local values
  if kind == 'created' then
    values = shown(job)
    table.insert(values, 1, standing(job.id))
  else
    values = record(job)
  end
  table.insert(values, 1, bytes_used())
  table.insert(values, 1, kind)
  return values
end

local known, why = load(id)
if known then
  return reply('created', known)
end
if scope ~= '' then
  local other = call('GET', of('key', scope))
  if other then
    known, why = load(other)
    if why == 'version' then
      return {'version'}
    elseif known and known.f ~= fingerprint then
      return {'conflict', other}
    elseif known then
      if reading then
        write_anyway()
        read_by_me(known)
        save(known)
      end
      return reply('joined', known)
    end
  end
end

if most < 0 or (most > 0 and waiting(ARGV[12] == '1') >= most) then
  return {'full'}
end
local body = of('body', id)
if call('LLEN', body) ~= pieces then
  return {'lost'}
end
local uploaded = tonumber(call('HGET', up, id) or '0')
local room = size + #envelope + OVERHEAD
if bytes_used() + room - uploaded > tonumber(ARGV[23]) then
  return {'room', bytes_used()}
end

call('SET', of('env', id), envelope)  -- the first to be refused if Redis is full
if rest ~= '' then
  call('RPUSH', body, rest)
end
call('HDEL', up, id)
call('INCRBY', bytes, room - uploaded)
call('HSETNX', meta, 'age', ARGV[10])
call('ZADD', all, stamp(now), id)
lives(bytes)
lives(all)
local job = {id = id, changed = {}, before = ''}
for _, name in ipairs(FIELDS) do
  job[name] = TEXTS[name] and '' or '0'
end
set(job, 'v', VERSION)
set(job, 'a', '1')
set(job, 'fa', '1')
set(job, 'c', stamp(now))
set(job, 'x', stamp(now + ttl))
set(job, 'u', ARGV[9])
set(job, 'ar', stamp(now - ARGV[11]))
set(job, 'd', ARGV[12])
set(job, 'bb', ARGV[22])
set(job, 'rm', room)
set(job, 'k', scope)
set(job, 'f', fingerprint)
set(job, 'hk', ARGV[19])
enter(job, 'queued')
if scope ~= '' then
  call('SET', of('key', scope), id)
end
count_readers(job, 0)
if reading then
  read_by_me(job)
end
if holder ~= '' then
  hold(job, holder, cold)
end
save(job)
keep(job)
return reply('created', job)
