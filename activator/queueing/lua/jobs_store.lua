-- Pieces of an answer, numbered, and possibly its successful end.
-- ARGV  id, holder, number of the first piece, has a head, status, most bytes of a result, bytes that
--       the endpoint may have, ends, trailers, pieces…
-- Reply {'ok', bytes that it has, job…} | {'room', bytes that it has} | {'superseded', state} | {'forbidden', state} | {'large'} | {'none'} | {'version'}
local PIECES = 16
local id, holder, at = ARGV[7], ARGV[8], tonumber(ARGV[9])
local has_head, ends = ARGV[10] == '1', ARGV[14] == '1'
local job, why = load(id)
if not job then
  return {why}
end
if job.h ~= holder then
  local made_before = ends and job.h == '' and job.lh == holder and ENDED[job.s]
  return made_before and {'ok', bytes_used(), unpack(shown(job))} or {'superseded', job.s}
end
local name = of('out', id)
local known, count = call('LLEN', name), #ARGV - PIECES + 1
local answered = has_head or job.st ~= '0'
if job.s ~= 'running' or (count > 0 and (at > known or at == 0 and not has_head)) or (ends and not answered) then
  return {'forbidden', job.s}
end

local first = PIECES + math.max(0, known - at)
local size = 0
for i = first, #ARGV do
  if not (has_head and i == PIECES) then
    size = size + #ARGV[i]
  end
end
if job.ob + size > tonumber(ARGV[12]) then
  return {'large'}
elseif size > 0 and bytes_used() + size > tonumber(ARGV[13]) then
  return {'room', bytes_used()}
end
for i = first, #ARGV, 500 do
  call('RPUSH', name, unpack(ARGV, i, math.min(i + 499, #ARGV)))
end
if ends then
  write_anyway()
end
if first <= #ARGV then
  set(job, 'ob', job.ob + size)
  set(job, 'rm', job.rm + size)
  call('INCRBY', bytes, size)
  job.rings = true
end
if has_head and job.st == '0' then
  set(job, 'st', ARGV[11])
  tell(job, 'answering', ARGV[11])
end
if ends then
  let_go(job, holder)
  set(job, 'tr', ARGV[15])
  finish(job, 'succeeded', '', '')
end
if known == 0 then
  keep(job)
end
save(job)
return {'ok', bytes_used(), unpack(shown(job))}
