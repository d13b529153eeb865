-- Makes an instance the owner of a worker name, with a new epoch. Called at start and after every reconnect.
--
-- ARGV: 1 worker, 2 instance, 3 the owner seen before or our own last fence ("" for none), 4 registration (JSON), 5 capacity "MEM:CPU" or "" when it takes nothing,
--       6 the newest version of the layout that it supports, 7 the worker's field order, 8 "1" for one that an operator has drained,
--       9 the oldest version of the layout that it supports.
-- Returns: the new epoch, the version of the layout, a worker that does not support the newest or "", and why the server did not let it be raised or "";
--       0 and the present owner when another instance owns the name; -1 and the version of the layout when that is not supported. Then nothing was done.
-- Keeps: late commands of an older epoch are refused from here on, also when the name was buried or Redis lost data meanwhile: an epoch is never
--       used twice. A name declared dead or free may be taken. An old heartbeat is renewed: the lease runs from here. A drain stays until an operator lifts it.
--       What only a start would write is written again where others have emptied the server: layout, field order, and the drain, which no operator has
--       lifted where the owner is gone with it. The version of the layout is raised when every registered worker supports the newer one.

local worker, instance = ARGV[1], ARGV[2]
local newest, oldest = tonumber(ARGV[6]), tonumber(ARGV[9])
local recorded = redis.call('GET', FORMAT)
local layout = tonumber(recorded or newest)
if not layout or layout < oldest or layout > newest then return { -1, recorded, '', '' } end
local owner = redis.call('HGET', OWNER, worker) or ''
local holder, epoch = string.match(owner, '^(.*):(%d+)$')
if owner ~= '' and owner ~= ARGV[3] and holder ~= instance and holder ~= '!dead' then return { 0, owner, '', '' } end
local seen = string.match(ARGV[3], ':(%d+)$')
local next_epoch = math.max(tonumber(epoch or '0'), tonumber(seen or '0')) + 1
redis.call('HSET', OWNER, worker, instance .. ':' .. int(next_epoch))
redis.call('HSET', WORKERS, worker, ARGV[4])
local figures = string.match(redis.call('HGET', STATUS, worker) or '', '^%d+(:.*)$')
if figures then redis.call('HSET', STATUS, worker, redis.call('TIME')[1] .. figures) end
if ARGV[5] ~= '' then redis.call('HSET', CAPACITY, worker, ARGV[5]) else redis.call('HDEL', CAPACITY, worker) end
if not recorded then redis.call('SETNX', FORMAT, ARGV[6]) end
local behind, refusal = '', ''
if layout < newest then
  local workers = redis.call('HGETALL', WORKERS)
  for i = 1, #workers, 2 do
    -- A build that does not say supports the first version.
    local supports = tonumber(string.match(workers[i + 1], '"newest":(%d+)') or '1')
    if workers[i] ~= worker and supports < newest then behind = workers[i] end
  end
  if behind == '' then
    -- A worker whose user may not raise it works in the old one.
    local set = redis.pcall('SET', FORMAT, ARGV[6])
    if set.err then refusal = set.err else layout = newest end
  end
end
order_agrees(ARGV[7])
if owner == '' and ARGV[8] == '1' then redis.call('HSET', DRAIN, worker, redis.call('TIME')[1]) end
events[1] = 'W\t' .. (holder == instance and 'reattached' or 'attached') .. '\t' .. worker
events_flush()
return { next_epoch, int(layout), behind, refusal }
