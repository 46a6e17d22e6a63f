// The attention viewer: reads maps and words from the JSON beside it, draws them into the page.
// A map's weights are whole hundredths, one byte each, in the order layer, head, row, column.
(() => {
  "use strict";

  const data = JSON.parse(document.getElementById("attention").textContent);
  for (const kind of data.maps) {
    kind.weights = Uint8Array.from(atob(kind.weights), (c) => c.charCodeAt(0));
    kind.decodes = kind.kind === "decoder" || kind.kind === "cross";
  }

  // Colours: the shades from 0 to 1 have evenly spaced lightness, whatever the theme.
  const SHADES = {
    light: "#ffffff #cde1f0 #97c4e8 #62a5df #3384d0 #1363b6 #11458c #132b5a",
    dark: "#1d2028 #243a58 #1d5888 #0079b1 #019bcf #40bee4 #8edced #d1f7fb",
  };
  const HEAD_COLOURS = {
    light: ["#0072b2", "#d55e00", "#009e73", "#b5568f", "#b07800", "#3a96c9", "#000000", "#8a5a44"],
    dark: ["#56b4e9", "#ff8a3d", "#2fcf9f", "#e39ac2", "#f0c040", "#a5d8f5", "#ffffff", "#d2a08a"],
  };
  const LABEL = 116; // pixels that a word on an axis may take
  const FAINT = [0.02, 0.05]; // of one map, of several: only a followed word has thinner lines
  const NUMBERS = 24; // pixels from which on a cell has room for its number
  const TILT = (55 * Math.PI) / 180; // of the words above a map
  const NOTES = {
    self: "Each row is a token; its shades say which tokens it looks at.",
    encoder: "Each row is a source token; its shades say which source tokens it looks at.",
    decoder:
      "Row: the step that writes a token. It can read only the start and the tokens before it.",
    cross: "Row: the step that writes a token. Its shades say which source tokens it looks at.",
  };
  const VIEWS = { map: "heat map", lines: "lines", overview: "all heads" };
  const MANY = { one: "one head", several: "several", mean: "mean" };

  // What is shown. `pinned` and `hover` are {row, column}; either may be null: a whole line.
  const state = { view: "map", kind: null, step: 0, panels: [], pinned: null, hover: null };
  let panels = []; // the same number as state.panels: {panel, element, maps, pictures, key}
  let strip = null; // the two sentences of a decoder
  let theme = "light";
  let shades = []; // one for each hundredth: {fill, ink}

  // ---- small tools

  const el = (tag, properties = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name.includes("-") || name === "role") element.setAttribute(name, value);
      else element[name] = value;
    }
    element.append(...children);
    return element;
  };
  const place = (element, box) => {
    for (const [side, pixels] of Object.entries(box)) element.style[side] = `${pixels}px`;
    return element;
  };
  const clamp = (x, low, high) => Math.max(low, Math.min(high, x));
  const range = (n) => Array.from({ length: n }, (_, i) => i);

  const clipped = (text, most) => {
    const letters = [...text];
    return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : text;
  };
  const shown = (token) => {
    if (token === "") return "∅";
    const marked = token.replace(/[\n\r]/g, "↵").replace(/\t/g, "⇥");
    return marked.trim() === "" ? marked.replace(/\s/g, "␣") : marked;
  };
  // A word in a sentence: quoted, apart from the text around it, numbered if there are several.
  const quoted = (words, i) => {
    const quote = el("bdi", { textContent: clipped(shown(words[i]), 60) });
    const isOnly = words.indexOf(words[i]) === words.lastIndexOf(words[i]);
    return el("span", {}, "“", quote, isOnly ? "”" : `” (${i + 1})`);
  };
  const number = (value) => value.toFixed(2);

  const text = (className, textContent) => el("span", { className, textContent });
  const word = (token, className) =>
    el("span", { className, textContent: shown(token), title: clipped(token, 400), dir: "auto" });

  const ruler = el("canvas").getContext("2d");
  const measured = new Map();
  const widest = (words) => {
    if (measured.has(words)) return measured.get(words);
    ruler.font = "13px system-ui, 'Liberation Sans', sans-serif";
    const widths = words.map((w) => ruler.measureText(clipped(shown(w), 40)).width);
    measured.set(words, Math.min(LABEL, Math.ceil(Math.max(...widths)) + 8));
    return measured.get(words);
  };

  const makeCanvas = (width, height) => {
    const ratio = window.devicePixelRatio || 1;
    const canvas = el("canvas", { width: width * ratio, height: height * ratio });
    canvas.setAttribute("aria-hidden", "true");
    place(canvas, { width, height });
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    return [canvas, pen];
  };

  // ---- colours

  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const luminance = (colour) => {
    const linear = colour.map((c) => (c <= 10 ? c / 3295 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const makeShades = (stops) => {
    const colours = stops.split(" ").map(rgb);
    return range(101).map((i) => {
      const at = (i / 100) * (colours.length - 1);
      const from = Math.min(Math.floor(at), colours.length - 2);
      const mix = [0, 1, 2].map((c) =>
        Math.round(colours[from][c] + (colours[from + 1][c] - colours[from][c]) * (at - from)),
      );
      return { rgb: mix, fill: `rgb(${mix})`, ink: luminance(mix) > 0.18 ? "#000" : "#fff" };
    });
  };
  const shade = (value) => shades[Math.round(value * 100)];

  // The ground of the page around the frame decides; without one, the reader's system.
  const pageIsDark = () => {
    for (let element = window.frameElement; element; element = element.parentElement) {
      const ground = getComputedStyle(element).backgroundColor;
      const [r, g, b, opacity = 1] = (ground.match(/[\d.]+/g) || []).map(Number);
      if (ground.startsWith("rgb") && opacity > 0) return luminance([r, g, b]) < 0.18;
    }
    return matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const applyTheme = () => {
    theme = pageIsDark() ? "dark" : "light";
    document.documentElement.dataset.theme = theme;
    shades = makeShades(SHADES[theme]);
  };
  const headColour = (head) => HEAD_COLOURS[theme][head % HEAD_COLOURS[theme].length];
  const accent = () => (theme === "dark" ? "#8ecbff" : "#0b5cad");

  // ---- what a panel shows: one map, or several; each {label, colour, at(row, column)}

  const average = (layer, heads) => {
    const { kind } = state;
    const size = kind.rows.length * kind.columns.length;
    const total = new Float32Array(size);
    for (const head of heads) {
      const from = (layer * kind.heads + head) * size;
      for (let i = 0; i < size; i += 1) total[i] += kind.weights[from + i];
    }
    return (row, column) => total[row * kind.columns.length + column] / heads.length / 100;
  };
  const mapsOf = (panel) => {
    const heads = [...panel.heads].sort((a, b) => a - b);
    if (panel.many === "mean") {
      const label = `layer ${panel.layer + 1}, mean of ${heads.length} heads`;
      return [{ label, colour: accent(), at: average(panel.layer, heads) }];
    }
    return heads.map((head) => ({
      label: `layer ${panel.layer + 1}, head ${head + 1}`,
      colour: heads.length > 1 ? headColour(head) : accent(),
      at: average(panel.layer, [head]),
    }));
  };
  const makePanel = (layer, head) => {
    const { heads } = state.kind;
    const one = heads === 1 ? 1 : head; // else it is a number, "mean" or null
    if (Number.isInteger(one)) return { layer, many: "one", heads: new Set([one - 1]) };
    return { layer, many: "mean", heads: new Set(range(heads)) };
  };

  // ---- following a token

  const follow = () => {
    const at = state.hover || state.pinned || { row: null, column: null };
    for (const picture of panels.flatMap((panel) => panel.pictures)) picture.follow(at);
    if (state.kind.decodes) strip.follow(at);
    say(at);
  };
  const lastRow = () => (state.kind.decodes ? state.step : state.kind.rows.length) - 1;
  const strongest = (count, weight, most) =>
    range(count)
      .sort((a, b) => weight(b) - weight(a))
      .slice(0, most)
      .filter((i) => weight(i) >= 0.005);

  // Let a picture follow pointer and arrow keys; find(x, y) says what is at a point.
  const listen = (element, find) => {
    const hover = (at) => {
      if (at?.row === state.hover?.row && at?.column === state.hover?.column) return;
      state.hover = at;
      follow();
    };
    const found = (event) => {
      const box = element.getBoundingClientRect();
      const at = find(event.clientX - box.left, event.clientY - box.top);
      return at && (at.row === null || at.row <= lastRow()) ? at : null;
    };
    element.addEventListener("pointermove", (event) => hover(found(event)));
    element.addEventListener("pointerleave", () => hover(null));
    element.addEventListener("click", (event) => {
      state.pinned = found(event);
      follow();
    });
    element.addEventListener("keydown", (event) => {
      const moves = {
        ArrowUp: [-1, 0],
        ArrowDown: [1, 0],
        ArrowLeft: [0, -1],
        ArrowRight: [0, 1],
        Home: [0, -Infinity],
        End: [0, Infinity],
        PageUp: [-Infinity, 0],
        PageDown: [Infinity, 0],
      };
      if (event.key === "Escape") state.pinned = null;
      else if (moves[event.key]) move(...moves[event.key]);
      else return;
      event.preventDefault();
      state.hover = null;
      follow();
      element
        .querySelector(".cell, .label.on")
        ?.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
  };
  const move = (down, right) => {
    const { row, column } = state.pinned || { row: null, column: null };
    state.pinned = {
      row: row === null ? 0 : clamp(row + down, 0, lastRow()),
      column:
        column === null
          ? right
            ? 0
            : null
          : clamp(column + right, 0, state.kind.columns.length - 1),
    };
  };
  const focusable = (className, ...children) =>
    el(
      "div",
      {
        className,
        tabIndex: 0,
        role: "application",
        "aria-roledescription": "attention map",
      },
      ...children,
    );

  // A picture is {element, show(maps), follow(focus)}: it stays when other weights are shown.

  // ---- the heat map

  const sizes = (space, smallest) => {
    const { rows, columns } = state.kind;
    const left = widest(rows) + 6;
    const over = Math.ceil(widest(columns) * Math.cos(TILT));
    const fits = Math.floor((space - left - over - 10) / columns.length);
    const cell = clamp(Math.min(fits, Math.floor(480 / rows.length)), smallest, 44);
    const upright = widest(columns) < cell;
    const top = upright ? 26 : Math.ceil(widest(columns) * Math.sin(TILT)) + 14;
    const every = Math.ceil(10 / cell); // where cells are small, only some words have room
    return { left, over, cell, upright, top, every, font: `${clamp(cell * 0.8, 9, 13)}px` };
  };
  const axis = (words, { font, every }, set) =>
    words.map((token, i) => {
      const label = word(token, "label");
      label.style.fontSize = font;
      label.hidden = i % every > 0;
      set(label, i);
      return label;
    });
  const heatmap = (space, smallest) => {
    const { rows, columns } = state.kind;
    const size = sizes(space, smallest);
    const { left, over, cell, upright, top } = size;
    const [width, height] = [cell * columns.length, cell * rows.length];

    const line = Math.max(cell, 14);
    const down = axis(rows, size, (label, i) =>
      place(label, { top: (i + 0.5) * cell - line / 2, lineHeight: line, maxWidth: left - 5 }),
    );
    const across = axis(columns, size, (label, i) => {
      place(label, { left: (i + (upright ? 0 : 0.62)) * cell, maxWidth: LABEL });
      if (upright) place(label, { width: cell }).style.textAlign = "center";
      else label.style.transform = "rotate(-55deg)";
    });
    const [canvas, pen] = makeCanvas(width, height);
    const cross = crosshair(cell);
    const picture = focusable(
      "picture heatmap",
      place(el("div", { className: "corner" }), { width: left, height: top }),
      place(el("div", { className: "across" }, ...across), { width: width + over, height: top }),
      place(el("div", { className: "down" }, ...down), { width: left, height }),
      place(el("div", { className: "cells" }, canvas, ...cross.parts), { width, height }),
    );
    listen(picture, (x, y) => {
      const inside = (i, n) => (i >= 0 && i < n ? i : null);
      const row = inside(Math.floor((y - top) / cell), rows.length);
      const column = inside(Math.floor((x - left) / cell), columns.length);
      return row === null && column === null ? null : { row, column };
    });

    let map = null;
    const show = ([next]) => {
      map = next;
      paintCells(pen, map, cell);
      down.forEach((label, i) => label.classList.toggle("later", i > lastRow()));
    };
    const light = (labels, chosen) =>
      labels.forEach((label, i) => {
        label.classList.toggle("on", i === chosen);
        label.hidden = i % size.every > 0 && i !== chosen;
      });
    const followFocus = ({ row, column }) => {
      light(down, row);
      light(across, column);
      cross.move(row, column, map);
    };
    return { element: picture, show, follow: followFocus };
  };
  // What marks a row, a column and the cell where they meet, with its weight beside it.
  const crosshair = (cell) => {
    const [row, column, box] = ["row", "column", "cell"].map((name) =>
      el("i", { className: name }),
    );
    const bubble = el("span", { className: "bubble", "aria-hidden": "true" });
    const move = (r, c, map) => {
      row.hidden = r === null;
      column.hidden = c === null;
      box.hidden = row.hidden || column.hidden;
      bubble.hidden = box.hidden || cell >= NUMBERS; // larger cells show their numbers
      place(row, { top: r * cell, height: cell });
      place(column, { left: c * cell, width: cell });
      place(box, { left: c * cell, top: r * cell, width: cell, height: cell });
      if (bubble.hidden) return;
      const isRight = c > state.kind.columns.length - 4;
      bubble.textContent = number(map.at(r, c));
      bubble.classList.toggle("flipped", isRight);
      place(bubble, { left: (c + (isRight ? 0 : 1)) * cell, top: (r + 0.5) * cell });
    };
    return { parts: [row, column, box, bubble], move };
  };
  const paintCells = (pen, map, cell) => {
    const count = state.kind.columns.length;
    const [width, height] = [count * cell, (lastRow() + 1) * cell];
    pen.clearRect(0, 0, width, state.kind.rows.length * cell);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(smallImage(map), 0, 0, width, height);
    pen.fillStyle = theme === "dark" ? "#2b303a" : "#e3e8ef";
    if (cell >= 14) {
      for (let x = cell; x <= width; x += cell) pen.fillRect(x - 1, 0, 1, height);
      for (let y = cell; y <= height; y += cell) pen.fillRect(0, y - 1, width, 1);
    }
    if (cell >= NUMBERS) paintNumbers(pen, map, cell);
  };
  const paintNumbers = (pen, map, cell) => {
    pen.font = `${clamp(cell * 0.36, 10, 13)}px system-ui, sans-serif`;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    for (let row = 0; row <= lastRow(); row += 1) {
      for (let column = 0; column < state.kind.columns.length; column += 1) {
        const value = map.at(row, column);
        if (value < 0.005) continue;
        pen.fillStyle = shade(value).ink;
        pen.fillText(number(value).replace("0.", "."), (column + 0.5) * cell, (row + 0.5) * cell);
      }
    }
  };
  // The rows so far, a pixel per weight.
  const smallImage = (map) => {
    const { columns } = state.kind;
    const canvas = el("canvas", { width: columns.length, height: lastRow() + 1 });
    const pen = canvas.getContext("2d");
    const image = pen.createImageData(canvas.width, canvas.height);
    for (let i = 0; i < image.data.length / 4; i += 1) {
      const at = map.at(Math.floor(i / columns.length), i % columns.length);
      [image.data[4 * i], image.data[4 * i + 1], image.data[4 * i + 2]] = shade(at).rgb;
      image.data[4 * i + 3] = 255;
    }
    pen.putImageData(image, 0, 0);
    return canvas;
  };

  // ---- lines between two columns of words

  const lines = (space) => {
    const { rows, columns } = state.kind;
    const most = Math.max(rows.length, columns.length);
    const pitch = clamp(Math.floor(520 / most), 11, 28);
    const [left, right] = [widest(rows) + 8, widest(columns) + 60];
    const width = clamp(space - left - right - 10, 90, 420);
    const middle = (i, words) => (i + 0.5 + (most - words.length) / 2) * pitch;
    const font = `${clamp(pitch * 0.8, 9, 14)}px`;
    const column = (words, make, box) =>
      words.map((token, i) => {
        const label = make(token);
        label.style.fontSize = font;
        return place(label, { top: middle(i, words) - pitch / 2, lineHeight: pitch, ...box });
      });
    const leftWord = (token) => word(token, "label left");
    const from = column(rows, leftWord, { right: width + right + 5, maxWidth: left - 5 });
    const to = column(columns, (token) => word(token, "label right"), {
      left: left + width + 5,
      maxWidth: right - 50,
    });
    const weights = column(columns, () => text("label weight", ""), {
      left: left + width + right - 46,
    });
    const [canvas, pen] = makeCanvas(width, pitch * most);
    const picture = focusable("picture lines", place(canvas, { left }), ...from, ...to, ...weights);
    place(picture, { width: left + width + right, height: pitch * most });

    const nearest = (y, words) => {
      const i = Math.floor(y / pitch - (most - words.length) / 2);
      return i >= 0 && i < words.length ? i : null;
    };
    listen(picture, (x, y) => {
      const isLeft = x < left + width / 2;
      const i = nearest(y, isLeft ? rows : columns);
      if (i === null) return null;
      return isLeft ? { row: i, column: null } : { row: null, column: i };
    });

    let maps = [];
    let faint = 0;
    const show = (next) => {
      maps = next;
      faint = faintest(maps);
      from.forEach((label, i) => label.classList.toggle("later", i > lastRow()));
    };
    const line = (map, i, row, key, alpha) => {
      const beside = (i - (maps.length - 1) / 2) * Math.min(3, (0.7 * pitch) / maps.length);
      const [start, end] = [middle(row, rows) + beside, middle(key, columns) + beside];
      pen.globalAlpha = alpha;
      pen.strokeStyle = map.colour;
      pen.lineWidth = 0.5 + (maps.length > 1 ? 2 : 3) * map.at(row, key);
      pen.beginPath();
      pen.moveTo(0, start);
      pen.bezierCurveTo(width * 0.45, start, width * 0.55, end, width, end);
      pen.stroke();
    };
    const followFocus = (at) => {
      pen.clearRect(0, 0, width, pitch * most);
      const any = at.row !== null || at.column !== null;
      for (let row = 0; row <= lastRow(); row += 1) {
        for (let key = 0; key < columns.length; key += 1) {
          const lit = any && (at.row === null ? at.column === key : at.row === row);
          maps.forEach((map, i) => {
            const value = map.at(row, key);
            if (value < (lit ? 0.005 : faint)) return;
            line(map, i, row, key, any && !lit ? 0.15 * value : Math.min(1, 0.04 + value));
          });
        }
      }
      from.forEach((label, i) => label.classList.toggle("on", i === at.row));
      to.forEach((label, i) => label.classList.toggle("on", i === at.column));
      weights.forEach((label, i) => {
        const value = at.row === null || maps.length > 1 ? 0 : maps[0].at(at.row, i);
        label.textContent = value < 0.005 ? "" : number(value);
      });
    };
    return { element: picture, show, follow: followFocus };
  };

  const faintest = (maps) => FAINT[maps.length > 1 ? 1 : 0];

  // ---- all layers and heads, small

  const overview = (space) => {
    const { kind } = state;
    const across = clamp(Math.floor((space - 60) / kind.heads) - 16, 36, 130);
    const high = clamp((across * kind.rows.length) / kind.columns.length, 24, 160);
    const grid = el("div", { className: "overview" });
    grid.style.gridTemplateColumns = `repeat(${kind.heads + 1}, auto)`;
    const heads = range(kind.heads);
    grid.append(text("name", ""), ...heads.map((head) => text("name", `head ${head + 1}`)));
    for (const layer of range(kind.layers)) {
      grid.append(text("name", `layer ${layer + 1}`));
      grid.append(...heads.map((head) => thumbnail(layer, head, across, high)));
    }
    return { element: grid, show: () => {}, follow: () => {} };
  };
  const thumbnail = (layer, head, width, height) => {
    const image = smallImage({ at: average(layer, [head]) });
    place(image, { width, height: (height * image.height) / state.kind.rows.length });
    const box = place(el("div", { "aria-hidden": "true" }, image), { width, height });
    const large = button("", `layer ${layer + 1}, head ${head + 1}: show it large`, () => {
      state.panels = [makePanel(layer, head + 1)];
      state.view = "map";
      build();
      stage.querySelector(".picture").focus();
    });
    large.append(box);
    return large;
  };

  // ---- the sentence read and the sentence written

  const sentence = (name, words) => {
    const spans = words.map((token) => word(token, "word"));
    const element = el("div", { className: `sentence ${name}` }, text("name", name), ...spans);
    element.classList.toggle("long", words.length > 40);
    return [element, spans];
  };
  const sentences = () => {
    const { kind } = state;
    const [reads, read] = sentence("reads", kind.columns);
    const [writes, written] = sentence("writes", kind.rows);
    const hover = (at) => () => {
      state.hover = at;
      follow();
    };
    written.forEach((span, row) => {
      span.addEventListener("pointerenter", hover({ row, column: null }));
      span.addEventListener("pointerleave", hover(null));
      span.addEventListener("click", () => {
        state.pinned = row <= lastRow() ? { row, column: null } : null;
        follow();
      });
    });
    const followFocus = ({ row, column }) => {
      const now = row === null ? lastRow() : row;
      const { maps } = panels[0];
      read.forEach((span, i) => {
        const { fill, ink } = shade(meanOf(maps, (map) => map.at(now, i)));
        span.style.backgroundColor = fill;
        span.style.color = ink;
        span.classList.toggle("on", i === column);
      });
      written.forEach((span, i) => {
        span.classList.toggle("on", i === now);
        span.classList.toggle("later", i > lastRow());
      });
    };
    return { element: el("div", {}, reads, writes), follow: followFocus };
  };
  const meanOf = (maps, weight) => maps.reduce((sum, map) => sum + weight(map), 0) / maps.length;

  // ---- the weights in words

  const say = ({ row, column }) => {
    const { rows, columns } = state.kind;
    const parts = [];
    const maps = state.view === "overview" ? [] : panels.flatMap((panel) => panel.maps);
    const values = (r, c) =>
      maps.flatMap((map, i) => {
        const weight = el("b", { textContent: number(map.at(r, c)) });
        return maps.length > 1 ? [i ? "; " : "", `${map.label} `, weight] : [weight];
      });
    const list = (count, at, token) => {
      const mean = (i) => meanOf(maps, (map) => at(map, i));
      const found = strongest(count, mean, 3);
      if (!found.length) parts.push("nothing in particular");
      found.forEach((i, n) => {
        parts.push(n ? ", " : "", token(i), ": ", el("b", { textContent: number(mean(i)) }));
      });
      if (maps.length > 1) parts.push(` (mean of the ${maps.length} maps)`);
    };
    if (!maps.length) parts.push("Choose a head to see it large.");
    else if (row !== null && column !== null) {
      parts.push(quoted(rows, row), " looks at ", quoted(columns, column), ": ");
      parts.push(...values(row, column));
    } else if (row !== null) {
      parts.push(quoted(rows, row), " looks at ");
      list(
        columns.length,
        (map, i) => map.at(row, i),
        (i) => quoted(columns, i),
      );
    } else if (column !== null) {
      parts.push(quoted(columns, column), " is looked at by ");
      list(
        lastRow() + 1,
        (map, i) => map.at(i, column),
        (i) => quoted(rows, i),
      );
    } else
      parts.push("Point at a word or a cell (a click keeps it), or press Tab and the arrow keys.");
    spoken.replaceChildren(...parts);
  };

  // ---- controls

  let groups = 0;
  const chip = (type, name, words, checked, choose) => {
    const input = el("input", { type, name, checked });
    input.addEventListener("change", () => choose(input.checked));
    return el("label", { className: "chip" }, input, text("", words));
  };
  const choices = (label, options, chosen, choose) => {
    groups += 1;
    const chips = Object.entries(options).map(([value, words]) =>
      chip("radio", `group${groups}`, words, value === chosen, () => choose(value)),
    );
    const legend = el("legend", { textContent: label });
    return el("fieldset", { className: "choices" }, legend, ...chips);
  };
  const button = (textContent, label, press) => {
    const element = el("button", { type: "button", textContent, "aria-label": label });
    element.addEventListener("click", press);
    return element;
  };

  const headChips = (panel) => {
    groups += 1;
    const isOne = panel.many === "one";
    const coloured = panel.many === "several" && state.view === "lines";
    const chips = range(state.kind.heads).map((head) => {
      const choose = (checked) => {
        if (isOne) panel.heads.clear();
        if (checked) panel.heads.add(head);
        else if (panel.heads.size > 1) panel.heads.delete(head);
        else chips[head].firstChild.checked = true; // the last one stays
        draw();
      };
      const type = isOne ? "radio" : "checkbox";
      const each = chip(type, `group${groups}`, `${head + 1}`, panel.heads.has(head), choose);
      each.lastChild.classList.toggle("swatch", coloured);
      each.style.setProperty("--swatch", headColour(head));
      return each;
    });
    return [el("legend", { textContent: "Head" }), ...chips];
  };
  const panelControls = (panel, i) => {
    const { layers, heads } = state.kind;
    const name = state.panels.length > 1 ? `Picture ${i + 1}` : "Picture";
    const bar = el("div", { className: "bar", role: "group", "aria-label": name });
    const numbers = Object.fromEntries(range(layers).map((n) => [n, `${n + 1}`]));
    const layer = choices("Layer", numbers, `${panel.layer}`, (value) => {
      panel.layer = Number(value);
      draw();
    });
    const box = el("fieldset", { className: "choices" }, ...headChips(panel));
    const many = choices("Show", MANY, panel.many, (value) => {
      if (value === "one") panel.heads = new Set([Math.min(...panel.heads)]);
      else if (panel.many === "one") panel.heads = new Set(range(heads));
      panel.many = value;
      box.replaceChildren(...headChips(panel));
      draw();
    });
    if (layers > 1) bar.append(layer);
    if (heads > 1) bar.append(many, box);
    return bar;
  };

  const player = () => {
    const count = state.kind.rows.length;
    const slider = el("input", { type: "range", min: 1, max: count, value: state.step });
    slider.setAttribute("aria-label", "Decoding step");
    const told = text("note", "");
    let timer = null;
    const stop = () => {
      clearInterval(timer);
      timer = null;
      play.textContent = "Play";
    };
    const go = (step) => {
      state.step = clamp(step, 1, count);
      state.pinned = { row: state.step - 1, column: null };
      state.hover = null;
      slider.value = state.step;
      describe();
      draw();
    };
    const describe = () => {
      const before = `step ${state.step} of ${count} writes `;
      told.replaceChildren(before, quoted(state.kind.rows, state.step - 1));
      slider.setAttribute("aria-valuetext", told.textContent);
    };
    const play = button("Play", "Play or pause the decoding", () => {
      if (timer !== null) return stop();
      if (state.step === count) go(1);
      play.textContent = "Pause";
      timer = setInterval(() => {
        if (!play.isConnected || state.step === count) stop();
        else go(state.step + 1);
      }, 900);
    });
    play.hidden = matchMedia("(prefers-reduced-motion: reduce)").matches;
    slider.addEventListener("input", () => go(Number(slider.value)));
    describe();
    const back = button("◀", "One step back", () => go(state.step - 1));
    const on = button("▶", "One step on", () => go(state.step + 1));
    return el("div", { className: "bar" }, text("name", "Decoding"), back, slider, on, play, told);
  };

  // ---- putting it together

  const controls = el("div");
  const decoding = el("div", { className: "decoding" });
  const spoken = el("output", { "aria-live": "polite" });
  const stage = el("div", { className: "stage" });
  const foot = el("div", { className: "foot" });
  const root = el("main", {}, controls, decoding, spoken, stage, foot);

  const chooseKind = (name) => {
    const before = state.kind;
    const kind = data.maps.find((each) => each.kind === name);
    state.kind = kind;
    state.step = kind.rows.length;
    state.pinned = state.hover = null;
    if (before?.layers === kind.layers && before.heads === kind.heads) return; // the choice fits
    state.panels = [makePanel(kind.layers - 1, "mean")];
  };

  const compare = (on) => {
    const [{ layer, heads }] = state.panels;
    const head = Math.min(...heads);
    state.panels = [makePanel(layer, head + 1)];
    if (on) state.panels.push(makePanel(layer, ((head + 1) % state.kind.heads) + 1));
  };
  // After a choice that changes the other controls: make them, and stay at this one.
  const again = (change) => (value) => {
    const name = document.activeElement.parentElement?.textContent;
    change(value);
    build();
    const chips = [...controls.querySelectorAll(".chip")];
    chips.find((each) => each.textContent === name)?.firstChild.focus();
  };
  const mainControls = () => {
    const { kind, panels: chosen, view } = state;
    const setView = (value) => {
      state.view = value;
    };
    const names = Object.fromEntries(data.maps.map((m) => [m.kind, m.name.replace(/-.*/, "")]));
    const bar = el("div", { className: "bar" }, choices("View", VIEWS, view, again(setView)));
    if (data.maps.length > 1) bar.append(choices("Attention", names, kind.kind, again(chooseKind)));
    if (view !== "overview" && kind.layers * kind.heads > 1) {
      bar.append(chip("checkbox", "compare", "compare two", chosen.length > 1, again(compare)));
    }
    return bar;
  };
  const build = () => {
    controls.replaceChildren(mainControls());
    if (data.title) controls.prepend(el("h1", { textContent: data.title }));
    const own = state.view === "overview" ? [] : state.panels.map(panelControls);
    if (own.length === 1) controls.append(own.pop());
    panels = state.panels.map((panel) => {
      const element = el("div", { className: "maps" });
      return { panel, element, maps: [], pictures: [], key: "" };
    });
    const beside = panels.map(({ element }, i) => {
      return el("div", { className: "panel" }, ...own.slice(i, i + 1), element);
    });
    stage.replaceChildren(...beside);
    strip = sentences();
    decoding.hidden = !state.kind.decodes;
    decoding.replaceChildren(player(), strip.element);
    draw();
  };

  // Pictures are made anew only when their number or size changes: other weights are shown at once.
  const draw = () => {
    if (!root.clientWidth) return; // not on the screen yet
    for (const each of panels) {
      each.maps = mapsOf(each.panel);
      const space = (each.element.clientWidth || root.clientWidth) - 12;
      const step = state.view === "overview" ? state.step : 0;
      const key = [space, each.maps.length, step].join();
      if (key !== each.key) {
        each.key = key;
        each.pictures = makePictures(each.maps, space);
        each.element.replaceChildren(...each.pictures.map((picture) => picture.element));
      }
      each.pictures.forEach((picture, i) =>
        picture.show(state.view === "map" ? [each.maps[i]] : each.maps),
      );
    }
    foot.replaceChildren(text("note", note()), scale());
    follow();
    fit();
  };
  const makePictures = (maps, space) => {
    if (state.view === "overview") return [overview(space)];
    if (state.view === "lines") return [captioned(lines(space))];
    const { columns } = state.kind;
    const comfortable = 130 + columns.length * (columns.length > 24 ? 5 : 14);
    const beside = clamp(Math.floor(space / comfortable), 1, maps.length);
    const smallest = maps.length > 1 ? 5 : 10;
    return maps.map(() => captioned(heatmap((space - 10 * (beside - 1)) / beside, smallest)));
  };
  const captioned = ({ element, show, follow: followFocus }) => {
    const caption = el("figcaption");
    const showBoth = (maps) => {
      caption.textContent = maps.map((map) => map.label).join(" · ");
      element.setAttribute(
        "aria-label",
        `${caption.textContent}. Arrow keys move from token to token.`,
      );
      show(maps);
    };
    return { element: el("figure", {}, caption, element), show: showBoth, follow: followFocus };
  };
  const note = () => {
    const means = state.panels.some((panel) => panel.many === "mean");
    const notes = [NOTES[state.kind.kind]];
    if (state.view !== "overview" && means)
      notes.push("A mean is that of weights rounded to 0.01.");
    if (state.view === "lines") notes.push(`Lines start at ${faintest(panels[0].maps)}.`);
    return notes.join(" ");
  };
  const scale = () => {
    const [canvas, pen] = makeCanvas(101, 12);
    shades.forEach(({ fill }, i) => {
      pen.fillStyle = fill;
      pen.fillRect(i, 0, 1, 12);
    });
    return el("span", { className: "scale note" }, "weight 0", canvas, "1");
  };
  const fit = () => {
    const frame = window.frameElement;
    if (frame) frame.style.height = `${root.offsetHeight}px`;
  };

  const restyle = () => {
    const before = theme;
    applyTheme();
    if (theme !== before) build();
  };
  const start = () => {
    document.title = data.title || "Attention";
    document.body.append(root);
    applyTheme();
    chooseKind(data.open.kind);
    state.panels = [makePanel(data.open.layer - 1, data.open.head)];
    build();
    let width = root.clientWidth;
    new ResizeObserver(() => {
      if (root.clientWidth === width) return;
      width = root.clientWidth;
      draw();
    }).observe(root);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
    if (!window.frameElement) return;
    const page = window.frameElement.ownerDocument;
    for (const element of [page.documentElement, page.body]) {
      new MutationObserver(() => setTimeout(restyle, 100)).observe(element, { attributes: true });
    }
  };
  start();
})();
