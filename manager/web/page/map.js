// The map of nodes and cores: one block a node, one cell a core.

/** Told apart in light and dark, and by most who see few colours. */
const COLOURS = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee7733",
  "#009988", "#cc3311", "#997700", "#6699cc", "#994455"];
const OTHERS = "?";
const GAP = 6;
const LABEL = 12;

/** Users keep their colours as long as the page is open; the first twelve have one of their own. */
export class UserColours {
  constructor() {
    this.places = new Map();
  }

  of(user) {
    if (!this.places.has(user)) this.places.set(user, this.places.size % COLOURS.length);
    return COLOURS[this.places.get(user)];
  }
}

/** A lease keeps its cells on a node from one overview to the next. */
function fillCells(before, node, leases) {
  const wanted = new Map();
  let known = 0;
  for (const [place, cores] of node.leases) {
    const id = leases[place].id;
    wanted.set(id, (wanted.get(id) || 0) + cores);
    known += cores;
  }
  if (node.used > known) wanted.set(OTHERS, node.used - known);
  const cells = new Array(node.cores).fill("");
  for (let i = 0; i < Math.min(cells.length, before.length); ++i) {
    const left = wanted.get(before[i]) || 0;
    if (left > 0) {
      cells[i] = before[i];
      wanted.set(before[i], left - 1);
    }
  }
  let at = 0;
  for (const [id, count] of wanted) {
    for (let left = count; left > 0; --left) {
      while (at < cells.length && cells[at] !== "") ++at;
      if (at < cells.length) cells[at] = id;
    }
  }
  return cells;
}

export class CoreMap {
  /** `onChoose(node)` is told which node has been chosen. */
  constructor(frame, canvas, colours, onChoose) {
    this.frame = frame;
    this.canvas = canvas;
    this.colours = colours;
    this.onChoose = onChoose;
    this.nodes = [];
    this.users = new Map();
    this.cells = new Map();
    this.chosen = -1;
    this.only = null;
    this.drawn = false;
    frame.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      this.chooseAt(event.clientX - box.left, event.clientY - box.top);
    });
    new ResizeObserver(() => this.draw()).observe(frame);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  show(overview) {
    const name = this.chosen >= 0 ? this.nodes[this.chosen].name : null;
    const cells = new Map();
    const seen = new Map();
    this.nodes = overview.nodes;
    this.keys = overview.nodes.map((node) => {
      // Nodes of one name are told apart by which comes first.
      const times = seen.get(node.name) || 0;
      seen.set(node.name, times + 1);
      return node.name + "\n" + times;
    });
    overview.nodes.forEach((node, i) => {
      const key = this.keys[i];
      cells.set(key, fillCells(this.cells.get(key) || [], node, overview.leases));
    });
    this.cells = cells;
    this.users = new Map(overview.leases.map((lease) => [lease.id, overview.users[lease.user]]));
    this.chosen = name === null ? -1 : this.nodes.findIndex((node) => node.name === name);
    this.draw();
  }

  /** Only what belongs to a user, or a lease, has its colour: {user}, {lease}, or null for all. */
  highlight(only) {
    this.only = only;
    this.draw();
  }

  choose(index) {
    if (index < 0 || index >= this.nodes.length) return;
    this.chosen = index;
    this.draw();
    const {x, y} = this.place(index);
    this.frame.scrollTo({
      left: Math.max(0, x - this.frame.clientWidth / 2),
      top: Math.max(0, y - this.frame.clientHeight / 2),
    });
    this.onChoose(this.nodes[index]);
  }

  chooseAt(x, y) {
    const column = Math.floor((x - GAP) / this.pitchX);
    const row = Math.floor((y - GAP) / this.pitchY);
    if (column < 0 || column >= this.columns || row < 0) return;
    this.choose(row * this.columns + column);
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.frame.clientHeight / this.pitchY)) * this.columns;
    const steps = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns,
      PageDown: page, PageUp: -page,
    };
    let to = this.chosen;
    if (event.key in steps) {
      to = this.chosen < 0 ? 0 : this.chosen + steps[event.key];
    } else if (event.key === "Home") {
      to = 0;
    } else if (event.key === "End") {
      to = this.nodes.length - 1;
    } else {
      return;
    }
    event.preventDefault();
    this.choose(Math.max(0, Math.min(this.nodes.length - 1, to)));
  }

  place(index) {
    return {
      x: GAP + (index % this.columns) * this.pitchX,
      y: GAP + Math.floor(index / this.columns) * this.pitchY,
    };
  }

  /** The largest cells with which all nodes are in sight; the smallest ones scroll. */
  layOut() {
    const most = this.nodes.reduce((cores, node) => Math.max(cores, node.cores), 1);
    this.across = Math.min(16, most);
    const down = Math.ceil(most / this.across);
    const width = Math.max(200, this.frame.clientWidth - 2);
    const height = Math.max(200, Math.floor(innerHeight * 0.68));
    for (this.cell = 12; this.cell >= 4; --this.cell) {
      this.pitchX = Math.max(56, this.across * this.cell) + GAP;
      this.pitchY = down * this.cell + LABEL + GAP;
      this.columns = Math.max(1, Math.floor((width - GAP) / this.pitchX));
      this.rows = Math.ceil(this.nodes.length / this.columns);
      if (GAP + this.rows * this.pitchY <= height) break;
    }
    this.cell = Math.max(4, this.cell);
    return {width: GAP + this.columns * this.pitchX, height: GAP + this.rows * this.pitchY, down};
  }

  draw() {
    const {width, height, down} = this.layOut();
    const scale = devicePixelRatio || 1;
    this.canvas.width = Math.round(width * scale);
    this.canvas.height = Math.round(height * scale);
    this.canvas.style.width = width + "px";
    this.canvas.style.height = height + "px";
    const to = this.canvas.getContext("2d");
    to.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const paints = {
      ink: colour("--ink"), free: colour("--free"), others: colour("--others"),
      draining: colour("--draining"), lost: colour("--lost"), focus: colour("--focus"),
    };
    to.font = "10px system-ui, sans-serif";
    to.textBaseline = "top";
    for (let i = 0; i < this.nodes.length; ++i) this.drawNode(to, i, down, paints);
    this.drawn = true;
  }

  paintOf(id, paints) {
    if (id === "") return paints.free;
    if (id === OTHERS) return paints.others;
    const user = this.users.get(id);
    return this.colours.of(user);
  }

  isFaint(id) {
    if (this.only === null || id === "") return false;
    if (this.only.lease !== undefined) return id !== this.only.lease;
    return this.users.get(id) !== this.only.user;
  }

  drawNode(to, index, down, paints) {
    const node = this.nodes[index];
    const {x, y} = this.place(index);
    const blockWidth = this.pitchX - GAP;
    to.fillStyle = node.state === "up" ? paints.ink : paints[node.state];
    const mark = node.state === "draining" ? "\u25bc " : node.state === "lost" ? "\u2715 " : "";
    to.save();
    to.beginPath();
    to.rect(x, y, blockWidth, LABEL);
    to.clip();
    to.fillText(mark + node.name, x, y);
    to.restore();
    const top = y + LABEL;
    this.cells.get(this.keys[index]).forEach((id, core) => {
      to.globalAlpha = node.state === "lost" ? 0.35 : this.isFaint(id) ? 0.15 : 1;
      to.fillStyle = this.paintOf(id, paints);
      to.fillRect(x + (core % this.across) * this.cell,
        top + Math.floor(core / this.across) * this.cell, this.cell - 1, this.cell - 1);
    });
    to.globalAlpha = 1;
    if (node.state !== "up") {
      to.strokeStyle = paints[node.state];
      to.lineWidth = 1;
      to.strokeRect(x - 1.5, top - 1.5, this.across * this.cell + 2, down * this.cell + 2);
    }
    if (index === this.chosen) {
      to.strokeStyle = paints.focus;
      to.lineWidth = 2;
      to.strokeRect(x - 3, y - 2, blockWidth + 5, this.pitchY - GAP + 4);
    }
  }
}
