-- A body that becomes no job.
-- ARGV  id
local id = ARGV[7]
local size = tonumber(call('HGET', up, id) or '-1')
if size >= 0 then
  call('HDEL', up, id)
  call('DEL', of('body', id))
  call('DECRBY', bytes, size)
end
return 'ok'
