-- Giving up lines that wait and are never to run.

-- Moves a waiting line to FAILED, with a reason, a JSON string: added first, removed last.
local function give_up(line, class, reason, group)
  redis.call('HSET', FAILED, line, redis.call('HGET', FAILED, line) or '')
  redis.call('HSET', REASON, line, reason)
  is_not_retried(line)
  group_put(line, group)
  redis.call('HDEL', ATTEMPTS, line)
  redis.call('HDEL', LOST, line)
  if has_suspects() then redis.call('HDEL', APART, line) end
  members.flip(line, 'x')
  index_forget(class, line)
  grown.drop(line)
  no_longer_wait { line }
  redis.call('HINCRBY', TALLY, 'given_up', 1)
end
