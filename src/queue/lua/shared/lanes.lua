-- The index of waiting lines: lanes in cells.
--
-- A class is all that a task asks for, "MEM:CPU:NEEDS:". A lane is a class, the batch of the task and, for retries, the set of workers that failed it:
-- "MEM:CPU:NEEDS:BATCH:w1,w2,". Each lane has a sorted set of lines, READY .. "c:" .. lane. Lanes of like size and the same needs and workers, of whatever
-- batch, make up a cell, "ROW/COLUMN/NEEDS:w1,w2,", with a sorted set of its lanes by their best score, READY .. "h:" .. cell. A lane of a batch that is held
-- is parked: in no cell, but in READY .. "parked". CELLS holds the best score of every cell. A cell that is wholly within a
-- worker's room has nothing that does not fit, and one wholly beyond it nothing that does, so that a claim walks only along the edge, however many lanes
-- there are. Smaller scores run first: (65535 - priority) * 2^37 + sequence, exact in the 53 bits of a double. HELD holds the lines of retries and of
-- suspects, by phase: "D" waits for the end of its backoff outside any lane until its time in DELAYED (retries.lua), "X" stands in a lane that some workers
-- pass over until its time in RETRY_ELSEWHERE (retries.lua), "S" stands in a lane of suspects (suspects.lua). COUNT is the number of lines in the index.
-- The keys of lanes and cells cannot be declared beforehand. They all begin with READY, which is declared.

local index_delta = 0

local function index_flush()
  if index_delta ~= 0 then
    redis.call('INCRBY', COUNT, int(index_delta))
    index_delta = 0
  end
end

-- The next n sequence numbers; returns the first.
local function sequence(n) return redis.call('INCRBY', SEQ, n) - n + 1 end

-- Memory, cores, needs, batch and workers of a lane.
local function lane_parts(lane)
  local mem, cpu, needs, batch, workers = string.match(lane, '^(%d+):(%d+):([^:]*):([^:]*):(.*)$')
  return tonumber(mem), tonumber(cpu), needs, batch, workers
end

-- The lane of a line of this class: workers are those that have failed it, as worker_set writes them, or "!LEVEL," for a suspect. The class is what the line
-- says; MEM of the lane is what it declares now (grown.lua).
local function lane_of(class, line, workers) return grown.class(class, line) .. members.batch_of(line) .. ':' .. (workers or '') end

-- The class of a lane.
local function class_of(lane) return string.match(lane, '^%d+:%d+:[^:]*:') end

-- A row of the grid is a quarter of a doubling of memory in bytes, a column half a doubling of cores in thousandths; "-" is nothing at all. Where a step
-- begins, as a part of a doubling: comparing with these is exact, so that the Rust side (queue/cells.rs) comes to the same steps.
local QUARTERS, HALVES = STEPS.quarters, STEPS.halves
local function step_of(amount, begins)
  if amount == 0 then return '-' end
  local part, doubling = math.frexp(amount)
  local at = 0
  while begins[at + 1] and begins[at + 1] <= part * 2 do at = at + 1 end
  return int((doubling - 1) * #begins + at - 1)
end

-- The cells of lanes that this call has met.
local cells_of = {}
local function cell_of(lane)
  local cell = cells_of[lane]
  if not cell then
    local mem, cpu, needs, _, workers = lane_parts(lane)
    cell = step_of(mem, QUARTERS) .. '/' .. step_of(cpu, HALVES) .. '/' .. needs .. ':' .. workers
    cells_of[lane] = cell
  end
  return cell
end

-- Of a lane that has a line with this score now.
local function index_raise(lane, score)
  local cell = cell_of(lane)
  local key = READY .. 'h:' .. cell
  local head = redis.call('ZSCORE', key, lane)
  if head and tonumber(score) >= tonumber(head) then return end
  redis.call('ZADD', key, score, lane)
  local best = redis.call('ZSCORE', CELLS, cell)
  if not best or tonumber(score) < tonumber(best) then redis.call('ZADD', CELLS, score, cell) end
end

-- Puts a line into a lane, unless it stands there.
local function index_put(lane, line, score)
  if redis.call('ZADD', READY .. 'c:' .. lane, 'NX', score, line) == 1 then index_delta = index_delta + 1 end
  index_raise(lane, score)
end

-- Puts lines into a lane at once: scores and lines in turns. The least score is given, so that the head is looked at once.
local function index_put_all(lane, pairs, least)
  index_delta = index_delta + bulk('ZADD', READY .. 'c:' .. lane, pairs, 'NX')
  index_raise(lane, int(least))
end

-- The best score of a lane as its cell has it; nil for one that is in no cell.
local function lane_head(lane) return redis.call('ZSCORE', READY .. 'h:' .. cell_of(lane), lane) end

local index_heads, index_park
do
  -- Makes CELLS true after the best lane of a cell has changed.
  local function index_cell(cell)
    local best = redis.call('ZRANGE', READY .. 'h:' .. cell, 0, 0, 'WITHSCORES')
    if best[1] then redis.call('ZADD', CELLS, best[2], cell) else redis.call('ZREM', CELLS, cell) end
  end

  -- Makes the cells of these lanes true after lines were taken from the lanes.
  function index_heads(lanes)
    local met = {}
    for _, lane in ipairs(lanes) do
      local cell = cell_of(lane)
      local head = redis.call('ZRANGE', READY .. 'c:' .. lane, 0, 0, 'WITHSCORES')
      if head[1] then redis.call('ZADD', READY .. 'h:' .. cell, head[2], lane) else redis.call('ZREM', READY .. 'h:' .. cell, lane) end
      met[cell] = true
    end
    for cell in pairs(met) do index_cell(cell) end
  end

  -- Takes a lane out of its cell, so that no claim looks at it, while its batch is held.
  function index_park(lane)
    local cell = cell_of(lane)
    redis.call('HSET', READY .. 'parked', lane, (select(4, lane_parts(lane))))
    redis.call('ZREM', READY .. 'h:' .. cell, lane)
    index_cell(cell)
  end
end

local function index_remove(lane, line)
  if redis.call('ZREM', READY .. 'c:' .. lane, line) == 1 then
    index_delta = index_delta - 1
    index_heads { lane }
  end
end

-- HELD[line] = PHASE|SCORE|LANE. A lane holds no "|".
local function held_parts(value) return string.match(value, '^(%a)|([^|]*)|(.*)$') end

-- "w1,w2,w1," -> "w1,w2,", sorted, so that equal sets are one lane.
local function worker_set(workers)
  local seen, list = {}, {}
  for name in string.gmatch(workers, '([^,|]+),') do
    if not seen[name] then seen[name] = true; list[#list + 1] = name end
  end
  table.sort(list)
  if #list == 0 then return '' end
  return table.concat(list, ',') .. ','
end
