-- The index of waiting lines, by class.
--
-- A class is a demand and, for retries, the set of workers that failed the task: "MEM:CPU:w1,w2,". Each class has a sorted set READY .. "c:" .. class.
-- CLASS_HEADS holds the best score of every class that is not empty. Smaller scores run first: (65535 - priority) * 2^37 + sequence, exact in the 53 bits
-- of a double. A class that no live worker could run may be parked: its score in CLASS_HEADS is raised by PARKED, so that it comes after all others and
-- claims do not have to skip it (claim.lua). HELD holds the lines of retries and of suspects, by phase: "D" waits for the end of its backoff outside any
-- class until its time in DELAYED (retries.lua), "X" stands in a class that some workers pass over until its time in RETRY_ELSEWHERE (retries.lua), "S" stands
-- in a class of suspects (suspects.lua). COUNT is the number of lines in the index.
-- The keys of classes cannot be declared beforehand. They all begin with READY, which is declared.

local PARKED = 2 ^ 53

local index_delta = 0

local function index_flush()
  if index_delta ~= 0 then
    redis.call('INCRBY', COUNT, int(index_delta))
    index_delta = 0
  end
end

-- The next n sequence numbers; returns the first.
local function sequence(n) return redis.call('INCRBY', SEQ, n) - n + 1 end

-- Of a class that has a line with this score now. What is parked stays so.
local function index_raise(class, score)
  local head = tonumber(redis.call('ZSCORE', CLASS_HEADS, class))
  if not head or (head < PARKED and tonumber(score) < head) then redis.call('ZADD', CLASS_HEADS, score, class) end
end

-- Puts a line into a class, unless it stands there.
local function index_put(class, line, score)
  if redis.call('ZADD', READY .. 'c:' .. class, 'NX', score, line) == 1 then index_delta = index_delta + 1 end
  index_raise(class, score)
end

-- Puts lines into a class at once: scores and lines in turns. The least score is given, so that the head is looked at once.
local function index_put_all(class, pairs, least)
  index_delta = index_delta + bulk('ZADD', READY .. 'c:' .. class, pairs, 'NX')
  index_raise(class, int(least))
end

-- Makes CLASS_HEADS true for one class after lines were taken from it.
local function index_head(class)
  local head = redis.call('ZRANGE', READY .. 'c:' .. class, 0, 0, 'WITHSCORES')
  if head[1] then redis.call('ZADD', CLASS_HEADS, head[2], class) else redis.call('ZREM', CLASS_HEADS, class) end
end

local function index_remove(class, line)
  if redis.call('ZREM', READY .. 'c:' .. class, line) == 1 then
    index_delta = index_delta - 1
    index_head(class)
  end
end

-- HELD[line] = PHASE|SCORE|CLASS. The class may hold no "|".
local function held_parts(value) return string.match(value, '^(%a)|([^|]*)|(.*)$') end

-- Takes a line out of the index wherever it stands; base is its class without excluded workers.
local function index_forget(base, line)
  local held = redis.call('HGET', HELD, line)
  if held then
    local phase, _, class = held_parts(held)
    if phase == 'D' then index_delta = index_delta - 1 else index_remove(class, line) end
    redis.call('HDEL', HELD, line)
    redis.call('ZREM', DELAYED, line)
    redis.call('ZREM', RETRY_ELSEWHERE, line)
  end
  index_remove(base, line)
end

-- "w1,w2,w1," -> "w1,w2,", sorted, so that equal sets are one class.
local function worker_set(workers)
  local seen, list = {}, {}
  for name in string.gmatch(workers, '([^,|]+),') do
    if not seen[name] then seen[name] = true; list[#list + 1] = name end
  end
  table.sort(list)
  if #list == 0 then return '' end
  return table.concat(list, ',') .. ','
end
