-- Retries: the backoff, the time for which a task is left to workers that have not failed it, and the clock of both.
--
-- DELAYED and RETRY_ELSEWHERE are kept in the index's own time: the time of the server, but it never goes back, so that no line waits longer because the
-- clock of the server was set back. READY .. "time" holds the latest moment at which a line waited, and by how much this time is ahead of the server's.

local index_time, index_seen, index_ahead

local function index_now(now)
  if index_time then return index_time end
  local seen, ahead = string.match(redis.call('GET', READY .. 'time') or '', '^(%d+):(%d+)$')
  index_seen, index_ahead = tonumber(seen or '0'), tonumber(ahead or '0')
  index_ahead = math.max(index_ahead, index_seen - now)
  index_time = now + index_ahead
  return index_time
end

-- Called while something waits: a second more or less does not matter, and a write for each call would.
local function index_keep_time(now)
  local mine = index_now(now)
  if mine > index_seen + 1000 or (index_seen > 0 and mine == index_seen) then
    redis.call('SET', READY .. 'time', int(mine) .. ':' .. int(index_ahead))
    index_seen = mine
  end
end

-- Indexes a line that some workers have failed: they pass it over for avoid_ms, after a backoff of delay_ms.
local function index_retry(base, line, score, workers, now, delay_ms, avoid_ms)
  if redis.call('HEXISTS', HELD, line) == 1 then return end
  if has_suspects() and redis.call('HEXISTS', APART, line) == 1 then return index_add(base, line, score) end
  local set = worker_set(workers)
  local lane = lane_of(base, line, set)
  if set ~= '' or delay_ms > 0 then index_keep_time(now) end
  if delay_ms > 0 then
    redis.call('HSET', HELD, line, 'D|' .. score .. '|' .. lane)
    redis.call('ZADD', DELAYED, int(index_now(now) + delay_ms), line)
    index_delta = index_delta + 1
  elseif set == '' or (gates.has(base) and gates.closed(line)) then
    gates.place(base, line, score)
  else
    redis.call('HSET', HELD, line, 'X|' .. score .. '|' .. lane)
    redis.call('ZADD', RETRY_ELSEWHERE, int(index_now(now) + avoid_ms), line)
    index_put(lane, line, score)
  end
end

-- Indexes a line that waits: workers are those that have failed it, or nil.
local function index_waiting(base, line, score, workers, now, delay_ms, avoid_ms)
  if workers then index_retry(base, line, score, workers, now, delay_ms, avoid_ms) else index_add(base, line, score) end
end

-- Moves lines whose time has come: out of their backoff, or out of the class that some workers pass over. At most 32 of each a call.
local function index_timers(now, avoid_ms)
  for _, timers in ipairs { DELAYED, RETRY_ELSEWHERE } do
    for _, line in ipairs(redis.call('ZRANGEBYSCORE', timers, '-inf', int(index_now(now)), 'LIMIT', 0, 32)) do
      local held = redis.call('HGET', HELD, line)
      redis.call('ZREM', timers, line)
      if held then
        redis.call('HDEL', HELD, line)
        local phase, score, lane = held_parts(held)
        if phase == 'D' then index_delta = index_delta - 1 else index_remove(lane, line) end
        if is_waiting(line) then
          local base, workers = class_of(lane), select(5, lane_parts(lane))
          if phase == 'D' then index_retry(base, line, score, workers, now, 0, avoid_ms) else gates.place(base, line, score) end
        end
      end
    end
  end
end
