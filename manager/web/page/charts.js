// Curves of the last hour.

const AT = 0;

/** `curves`: [{column, colour}] of points; `limitColumn`: what they can reach, or null. */
export function drawCurves(canvas, points, curves, limitColumn) {
  const scale = devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const to = canvas.getContext("2d");
  to.scale(scale, scale);
  if (points.length === 0) return;
  const style = getComputedStyle(document.documentElement);
  const hour = 3600 * 1000;
  const last = points[points.length - 1][AT];
  const columns = curves.map((curve) => curve.column);
  if (limitColumn !== null) columns.push(limitColumn);
  const most = Math.max(1, ...points.map((point) => Math.max(...columns.map((c) => point[c]))));
  const x = (point) => width - ((last - point[AT]) / hour) * width;
  const y = (value) => height - 3 - (value / most) * (height - 18);
  if (limitColumn !== null) {
    curve(to, points, x, (point) => y(point[limitColumn]), style.getPropertyValue("--faint"), [3, 3]);
  }
  for (const {column, colour} of curves) {
    curve(to, points, x, (point) => y(point[column]), style.getPropertyValue(colour), []);
  }
  to.fillStyle = style.getPropertyValue("--faint");
  to.font = "10px system-ui, sans-serif";
  to.fillText(most >= 10 ? most.toFixed(0) : most.toPrecision(2), 3, 11);
}

function curve(to, points, x, y, colour, dash) {
  to.strokeStyle = colour.trim();
  to.lineWidth = 1.5;
  to.setLineDash(dash);
  to.beginPath();
  points.forEach((point, i) => (i === 0 ? to.moveTo(x(point), y(point)) : to.lineTo(x(point), y(point))));
  if (points.length === 1) to.lineTo(x(points[0]) - 2, y(points[0]));
  to.stroke();
}
