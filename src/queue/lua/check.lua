-- A dry run for `--check`. It finds out whether every key has the right type, whether the server accepts writes at all, and whether this user may run the
-- commands that the scripts run.
--
-- Returns: the refused commands as a list: the command, the message of the server.
-- Guarantees: nothing is left behind. It writes a hash and a sorted set of the index under a random name, which disappear with their last field. In the
-- keys of the queue it only deletes a field that does not exist.
-- Records: ARG, in queue/records.rs.

local refused = {}
local function try(what, answer)
  if type(answer) == 'table' and answer.err then
    local err = answer.err
    if not string.find(err, 'WRONGTYPE', 1, true) then
      refused[#refused + 1] = what
      refused[#refused + 1] = err
    end
  end
end

-- A server that takes no writes refuses this one, and the script ends with what it says.
local scratch = READY .. 'check:' .. ARGV[ARG.nonce]
redis.call('HSET', scratch, 'a', '1')
try('HINCRBY', redis.pcall('HINCRBY', scratch, 'a', 1))
redis.call('HDEL', scratch, 'a')
try('ZADD', redis.pcall('ZADD', scratch .. ':z', 1, 'a'))
try('ZREM', redis.pcall('ZREM', scratch .. ':z', 'a'))

for _, key in ipairs(KEYS) do
  -- That one is a channel.
  if key ~= WAKE then
    try('HDEL on ' .. key, redis.pcall('HDEL', key, ARGV[ARG.nonce]))
    try('HGET on ' .. key, redis.pcall('HGET', key, ARGV[ARG.nonce]))
  end
end
for _, key in ipairs({CELLS, DELAYED, RETRY_ELSEWHERE}) do
  try('ZRANGE on ' .. key, redis.pcall('ZRANGE', key, 0, 0))
  try('ZRANGEBYSCORE on ' .. key, redis.pcall('ZRANGEBYSCORE', key, '-inf', '(0', 'LIMIT', 0, 1))
  try('ZSCORE on ' .. key, redis.pcall('ZSCORE', key, ARGV[ARG.nonce]))
  try('ZCARD on ' .. key, redis.pcall('ZCARD', key))
  try('ZSCAN on ' .. key, redis.pcall('ZSCAN', key, 0, 'COUNT', 1))
end
try('HLEN on ' .. TODO, redis.pcall('HLEN', TODO))
try('HEXISTS on ' .. TODO, redis.pcall('HEXISTS', TODO, ARGV[ARG.nonce]))
try('HMGET on ' .. STATUS, redis.pcall('HMGET', STATUS, ARGV[ARG.nonce]))
try('HSCAN on ' .. TODO, redis.pcall('HSCAN', TODO, 0, 'COUNT', 1))
try('HGETALL on ' .. CAPACITY, redis.pcall('HGETALL', CAPACITY))
try('HKEYS on ' .. CAPACITY, redis.pcall('HKEYS', CAPACITY))
try('HRANDFIELD on ' .. IDLE, redis.pcall('HRANDFIELD', IDLE))
try('XLEN on ' .. EVENTS, redis.pcall('XLEN', EVENTS))
try('EXISTS', redis.pcall('EXISTS', scratch))
try('GET on ' .. SEQ, redis.pcall('GET', SEQ))
try('TIME', redis.pcall('TIME'))

-- What cannot be tried without a trace: asked about, from Redis 7.0 on.
if redis.acl_check_cmd then
  local function ask(...)
    local words = {...}
    if not redis.acl_check_cmd(...) then
      refused[#refused + 1] = words[1] .. ' on ' .. words[2]
      refused[#refused + 1] = 'NOPERM No permissions'
    end
  end
  ask('INCRBY', SEQ, '1')
  ask('INCRBY', COUNT, '1')
  ask('XADD', EVENTS, '*', 'a', 'b')
  ask('XTRIM', EVENTS, 'MAXLEN', '1')
  ask('PUBLISH', WAKE, 'todo')
  ask('DEL', REVOKED)
end
return refused
