-- The lanes of the index in order of their heads, read as far as a claim needs them. The index does not change until the end of a claim.

local cells, cells_read, has_all_cells = {}, 0, false

-- judge(NEEDS) says whether a lane of these needs may be for this worker at all: no other is looked at. meet(BATCHES), if there is one, is told of which
-- batches the lanes are that were read. The claim sets them.
local walks = {}

-- Batches that are held, and the lanes of theirs that were met.
local held_batches, to_park = {}, {}

-- The least amount of a step of the grid.
local function least_of(step, begins)
  if step == '-' then return 0 end
  local doubling = math.floor(tonumber(step) / #begins)
  return math.ldexp(begins[tonumber(step) - doubling * #begins + 1], doubling)
end

-- The i-th cell by its head; nil when there are fewer.
local function cell_at(i)
  while i > #cells and not has_all_cells do
    local size = cells_read == 0 and 8 or 64
    local page = redis.call('ZRANGE', CELLS, cells_read, cells_read + size - 1, 'WITHSCORES')
    cells_read = cells_read + size
    if #page < 2 * size then has_all_cells = true end
    for k = 1, #page, 2 do
      local row, column, needs, workers = string.match(page[k], '^([^/]*)/([^/]*)/([^:]*):(.*)$')
      local cell = { head = tonumber(page[k + 1]), is_for_others = not walks.judge(needs) }
      if not cell.is_for_others then
        local level = string.match(workers, '^!(%d),$')
        cell.name, cell.needs, cell.workers, cell.level, cell.lanes, cell.read = page[k], needs, level and '' or workers, level, {}, 0
        -- Of most lanes memory and cores decide alone.
        cell.is_bare = needs == '' or needs == 'after'
        cell.has_gates = needs ~= '' and gates.are_among(needs)
        cell.least_mem, cell.least_cpu = least_of(row, QUARTERS), least_of(column, HALVES)
        if row == '-' and needs ~= '' then cell.least_mem, cell.unknown = learnt.mem(needs, 0) end
      end
      cells[#cells + 1] = cell
    end
  end
  return cells[i]
end

-- The k-th lane of a cell by its head; nil when there are fewer. One is read first: most claims need no more.
local function lane_at(cell, k)
  while k > #cell.lanes and not cell.has_all do
    local size = cell.read == 0 and 1 or (cell.read == 1 and 15 or 64)
    local page = redis.call('ZRANGE', READY .. 'h:' .. cell.name, cell.read, cell.read + size - 1, 'WITHSCORES')
    cell.read = cell.read + size
    if #page < 2 * size then cell.has_all = true end
    local met = {}
    for i = 1, #page, 2 do
      local mem, cpu, batch = string.match(page[i], '^(%d+):(%d+):[^:]*:([^:]*):')
      if held_batches[batch] then
        to_park[#to_park + 1] = page[i]
      else
        cell.lanes[#cell.lanes + 1] = {
          cell = cell, name = page[i], batch = batch, mem = mem == '0' and cell.least_mem or tonumber(mem), unknown = cell.unknown, cpu = tonumber(cpu),
          needs = cell.needs, workers = cell.workers, level = cell.level,
          head = tonumber(page[i + 1]), score = tonumber(page[i + 1]), from = 0, lines = {}, at = 0, taken = {},
        }
        met[#met + 1] = batch
      end
    end
    if walks.meet then walks.meet(met) end
  end
  return cell.lanes[k]
end

-- A heap of lanes: the first is the one that is before all others.
function walks.heap(before)
  local heap = {}
  function heap.push(lane)
    local at = #heap + 1
    while at > 1 do
      local above = math.floor(at / 2)
      if not before(lane, heap[above]) then break end
      heap[at] = heap[above]
      at = above
    end
    heap[at] = lane
  end
  -- The first has changed, and is perhaps not the first any more.
  function heap.sink()
    local lane, size, at = heap[1], #heap, 1
    while at * 2 <= size do
      local below = at * 2
      if below < size and before(heap[below + 1], heap[below]) then below = below + 1 end
      if not before(heap[below], lane) then break end
      heap[at] = heap[below]
      at = below
    end
    heap[at] = lane
  end
  -- Takes the first away.
  function heap.pop()
    heap[1] = heap[#heap]
    heap[#heap] = nil
    if heap[1] then heap.sink() end
  end
  return heap
end

-- A walk over all lanes that may be for this worker. enters(cell) says whether the lanes of a cell are to be looked at. The function that is returned gives the
-- next lane by its head, or nil when the next one's head is beyond `most`; nil for no bound.
local function walk(enters)
  local next_cell, open = 1, {}
  -- The least head of what comes next, where that is known: most questions are answered by it.
  local least
  return function(most)
    if most and least and least > most then return nil end
    while true do
      local best
      for i = 1, #open do
        if not best or open[i].lane.head < open[best].lane.head then best = i end
      end
      local cell = cell_at(next_cell)
      if cell and (not best or cell.head < open[best].lane.head) then
        if most and cell.head > most then
          least = cell.head
          return nil
        end
        next_cell = next_cell + 1
        local first = not cell.is_for_others and enters(cell) and lane_at(cell, 1)
        if first then open[#open + 1] = { lane = first, k = 1 } end
      else
        if not best then
          least = math.huge
          return nil
        end
        if most and open[best].lane.head > most then
          least = open[best].lane.head
          return nil
        end
        least = nil
        local at = open[best]
        local lane = at.lane
        at.k = at.k + 1
        at.lane = lane_at(lane.cell, at.k)
        if not at.lane then table.remove(open, best) end
        return lane
      end
    end
  end
end
