"use strict";
/* The page's own script: the table of all trials, one trial's page, charts and downloads. It asks nothing of anybody. */
(() => {
  const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#F0E442"];
  const MOST_CHOICES = 40; /* With more values, a column is filtered by a text. */
  const FAILED = new Set(["diverged", "solver_failed", "invalid_config", "crashed", "timed_out", "out_of_memory",
    "worker_lost", "node_lost", "disk_full", "failed"]);

  /* -- elements, numbers, packed data */

  function make(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value === true) made.setAttribute(key, "");
      else if (value !== false && value !== null) made.setAttribute(key, value);
    }
    made.append(...children);
    return made;
  }

  const escaped = (text) => String(text).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
  const numberOf = (value) => value === "inf" ? Infinity : value === "-inf" ? -Infinity : value;
  const isMissing = (value) => value === null || value === undefined || value === "";

  function read(value, column) {
    if (isMissing(value)) return "";
    if (!column.isNumber) return String(value);
    const number = numberOf(value);
    if (!Number.isFinite(number)) return String(value);
    if (Number.isInteger(number) && Math.abs(number) < 1e7) return String(number);
    return String(Number(number.toPrecision(4)));
  }

  async function unpack(id) {
    const text = atob(document.getElementById(id).textContent.trim());
    const bytes = new Uint8Array(text.length);
    for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }

  function once(work) {
    const kept = new Map();
    return (key) => {
      if (!kept.has(key)) kept.set(key, work(key));
      return kept.get(key);
    };
  }

  const library = once(async (name) => {
    document.head.append(Object.assign(document.createElement("script"), { textContent: await unpack(`library-${name}`) }));
  });
  const curves = once(async (place) => JSON.parse(await unpack(`curves-${place}`)));
  const search = once(async (place) => {
    const data = JSON.parse(await unpack(`data-${place}`));
    data.place = place;
    data.column = new Map(data.columns.map((column) => [column.name, column]));
    data.size = data.columns.length ? data.columns[0].values.length : 0;
    data.rowOf = new Map((data.column.get("trial")?.values ?? []).map((trial, row) => [trial, row]));
    return data;
  });

  function save(text, file) {
    const url = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
    make("a", { href: url, download: file }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  const quoted = (value) => /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
  const csv = (rows) => rows.map((row) => row.map((value) => quoted(isMissing(value) ? "" : String(value))).join(",")).join("\n") + "\n";

  /* -- the table of all trials */

  function kindOf(outcome) {
    if (outcome === "completed" || outcome === "pruned") return `is-${outcome}`;
    return FAILED.has(outcome) ? "is-failed" : "is-open";
  }

  function compare(left, right) {
    return left < right ? -1 : left > right ? 1 : 0;
  }

  function addTypes() { /* What is missing comes last, whichever way a column is sorted. */
    const order = (sign, of) => (left, right) => {
      if (isMissing(left) || isMissing(right)) return isMissing(left) - isMissing(right);
      return sign * compare(of(left), of(right));
    };
    DataTable.type("numbers", { order: { asc: order(1, Number), desc: order(-1, Number) }, className: "dt-type-numeric" });
    DataTable.type("texts", { order: { asc: order(1, String), desc: order(-1, String) } });
  }

  function joined(searches) {
    const columns = new Map();
    if (searches.length > 1) columns.set("search", { name: "search", isNumber: false, isSeen: true, get: (row) => row.of.name });
    for (const one of searches) {
      for (const column of one.columns) {
        const name = searches.length > 1 && column.name === "search" ? "config.search" : column.name;
        const known = columns.get(name);
        if (known) {
          known.isNumber = known.isNumber && column.isNumber;
          known.isSeen = known.isSeen || column.isSeen;
        } else {
          columns.set(name, { name, isNumber: column.isNumber, isSeen: column.isSeen,
            get: (row) => row.of.column.get(column.name)?.values[row.at] ?? null });
        }
      }
    }
    return [...columns.values()];
  }

  function shownCell(column) {
    return (value) => {
      const text = escaped(read(value, column));
      if (column.name === "trial") return `<button type="button" class="link" aria-haspopup="dialog" aria-label="Trial ${text}">${text}</button>`;
      return column.name === "outcome" ? `<span class="${kindOf(value)}">${text}</span>` : text;
    };
  }

  async function makeTable(place) {
    const searches = await Promise.all(place.dataset.searches.split(" ").map(search));
    await library("datatables");
    if (!makeTable.isReady) addTypes();
    makeTable.isReady = true;
    const rows = searches.flatMap((of) => Array.from({ length: of.size }, (_, at) => ({ of, at })));
    const columns = joined(searches);
    const element = make("table", { class: "all", "aria-label": "All trials" });
    const tools = make("div", { class: "tools" });
    place.replaceChildren(tools, element);
    const table = new DataTable(element, {
      data: rows,
      columns: columns.map((column) => ({
        title: escaped(column.name),
        data: (row, type) => {
          const value = column.get(row);
          if (type === "display") return shownCell(column)(value);
          if (type === "sort" || type === "type") return column.isNumber ? numberOf(value) : value;
          return isMissing(value) ? "" : escaped(value); /* DataTables reads what it searches as HTML. */
        },
        type: column.isNumber ? "numbers" : "texts",
        visible: column.isSeen,
        searchable: column.isSeen,
      })),
      order: [],
      pageLength: 10,
      lengthMenu: [10, 25, 100, 500],
      autoWidth: false,
      deferRender: true,
      layout: { topStart: null, topEnd: null, bottomStart: ["info", "pageLength"], bottomEnd: "paging" },
      language: { info: "_START_ to _END_ of _TOTAL_ trials", infoFiltered: "(of _MAX_)", infoEmpty: "no trials",
        lengthMenu: "_MENU_ on a page", zeroRecords: "No trial fits these filters" },
    });
    addTools(tools, place, table, columns, rows);
    element.tBodies[0].addEventListener("click", (event) => {
      const row = event.target.closest("tr");
      const data = row && table.row(row).data();
      if (!data) return;
      row.querySelector("button")?.focus();
      openTrial(data.of, data.at);
    });
    place.classList.add("is-ready");
  }

  function addTools(tools, place, table, columns, rows) {
    const filters = new Map();
    const apply = () => {
      table.search.fixed("filters", (_text, row) => [...filters.values()].every((fits) => fits(row)));
      table.draw();
    };
    tools.append(
      make("label", {}, "Search in all columns", make("input", { type: "search", oninput: (event) => table.search(event.target.value).draw() })),
      make("button", { type: "button", onclick: () => {
        const seen = columns.filter((_column, at) => table.column(at).visible());
        const found = table.rows({ search: "applied", order: "applied" }).data().toArray();
        save(csv([seen.map((column) => column.name), ...found.map((row) => seen.map((column) => column.get(row)))]), "trials.csv");
      } }, "These rows as CSV"),
    );
    const panel = make("div", { class: "filters" });
    columns.filter((column) => column.isSeen && !["rank", "trial"].includes(column.name)).forEach((column) => {
      panel.append(filterOf(column, rows, (fits) => {
        if (fits) filters.set(column, fits); else filters.delete(column);
        apply();
      }));
    });
    const chosen = make("div", { class: "columns" });
    columns.forEach((column, at) => {
      const box = make("input", { type: "checkbox", onchange: (event) => table.column(at).visible(event.target.checked) });
      box.checked = column.isSeen;
      chosen.append(make("label", {}, box, column.name));
    });
    tools.after(
      make("details", { class: "no-print" }, make("summary", {}, "Filter by column"), panel),
      make("details", { class: "no-print" }, make("summary", {}, `Choose columns (${columns.length})`), chosen),
    );
  }

  function filterOf(column, rows, set) {
    if (column.isNumber) {
      const ends = ["from", "to"].map((name) => make("input", { type: "number", step: "any", placeholder: name, "aria-label": `Filter ${column.name} ${name}` }));
      const change = () => {
        const [low, high] = ends.map((end) => end.value === "" ? null : Number(end.value));
        set(low === null && high === null ? null : (row) => {
          const value = column.get(row);
          if (isMissing(value)) return false;
          return (low === null || numberOf(value) >= low) && (high === null || numberOf(value) <= high);
        });
      };
      ends.forEach((end) => end.addEventListener("input", change));
      return make("fieldset", {}, make("legend", {}, column.name), make("div", { class: "pair" }, ...ends));
    }
    const values = [...new Set(rows.map((row) => column.get(row) ?? ""))].sort();
    if (values.length > MOST_CHOICES) {
      return make("label", {}, column.name, make("input", { type: "text", placeholder: "contains", "aria-label": `Filter ${column.name}`, oninput: (event) => {
        const part = event.target.value.toLowerCase();
        set(part ? (row) => String(column.get(row) ?? "").toLowerCase().includes(part) : null);
      } }));
    }
    const choice = make("select", { "aria-label": `Filter ${column.name}`, onchange: () => {
      const at = choice.selectedIndex - 1;
      set(at < 0 ? null : (row) => (column.get(row) ?? "") === values[at]);
    } }, make("option", {}, "any"), ...values.map((value) => make("option", {}, value === "" ? "(none)" : String(value))));
    return make("label", {}, column.name, choice);
  }

  /* -- the trials named in the table of the best */

  document.querySelectorAll("table.best").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
    const at = heads.findIndex((head) => head === "trial" || head === "trials");
    if (at < 0) return;
    for (const row of table.tBodies[0].rows) {
      const cell = row.cells[at];
      const links = cell.textContent.split(", ").map((trial) => make("button", { type: "button", class: "link", "aria-haspopup": "dialog",
        "aria-label": `Trial ${trial}`, onclick: async () => {
          const of = await search(table.dataset.search);
          openTrial(of, of.rowOf.get(Number(trial)));
        } }, trial));
      cell.replaceChildren(...links);
    }
  });

  /* -- one trial */

  const dialog = document.getElementById("trial");
  const body = document.getElementById("trial-body");
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  function plainTable(caption, head, rows) {
    const cells = (row, tag) => row.map((value, at) => make(tag && at ? "td" : "th", { scope: tag && at ? null : at || !tag ? "col" : "row" }, value));
    return make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption },
      make("table", {}, make("caption", {}, caption), make("thead", {}, make("tr", {}, ...cells(head, ""))),
        make("tbody", {}, ...rows.map((row) => make("tr", {}, ...cells(row, "td"))))));
  }

  async function openTrial(of, at) {
    const value = (name, row = at) => of.column.get(name)?.values[row] ?? null;
    const text = (name, row = at) => read(value(name, row), of.column.get(name) ?? {});
    const trial = value("trial"), best = of.best, bestAt = of.rowOf.get(best);
    const isBest = trial === best || bestAt === undefined;
    const results = of.objectives.map((one) => `${one.column} ${text(one.column) || "not measured"}`).join(", ");
    const rank = isMissing(value("rank")) ? "" : `, rank ${value("rank")}`;
    body.replaceChildren(
      make("h2", { id: "trial-h" }, `Trial ${trial} of ${of.name}`),
      make("p", {}, make("span", { class: kindOf(value("outcome")) }, String(value("outcome")).replaceAll("_", " ")), `${rank}; ${results}`),
    );
    const why = of.failures[trial];
    if (why) body.append(make("h3", {}, "Why it failed"), make("pre", { tabindex: "0" }, why));
    const config = of.columns.filter((column) => column.isConfig);
    const differing = config.filter((column) => !isBest && column.values[at] !== column.values[bestAt]);
    body.append(make("h3", {}, isBest ? "Configuration" : `Configuration beside that of the best, trial ${best}`));
    if (isBest) {
      body.append(plainTable("What was searched", ["field", "value"], of.factors.filter((name) => of.column.has(name)).map((name) => [name, text(name)])));
    } else if (differing.length) {
      body.append(plainTable("Only what differs", ["field", `trial ${trial}`, `trial ${best} (best)`],
        differing.map((column) => [column.name, text(column.name), text(column.name, bestAt)])));
    } else {
      body.append(make("p", {}, "Its configuration is the same."));
    }
    body.append(make("details", {}, make("summary", {}, `All ${config.length} fields`),
      plainTable("Every field of the configuration", ["field", "value"], config.map((column) => [column.name, text(column.name)]))));
    const rest = of.columns.filter((column) => !column.isConfig && !["trial", "rank"].includes(column.name) && !isMissing(column.values[at]));
    body.append(make("details", {}, make("summary", {}, "Metrics and what it used"),
      plainTable("Metrics and what it used", ["", `trial ${trial}`, ...(isBest ? [] : [`trial ${best} (best)`])],
        rest.map((column) => [column.name, text(column.name), ...(isBest ? [] : [text(column.name, bestAt)])]))));
    const place = make("div", {});
    body.append(place);
    if (!dialog.open) dialog.showModal();
    dialog.scrollTop = 0;
    await addCurves(place, of, trial, isBest ? null : best);
    addFigures(place, of, trial);
  }

  async function addCurves(place, of, trial, best) {
    const lines = await curves(of.place);
    const own = lines.trials[trial];
    if (!own) return;
    const charts = make("div", { class: "charts" });
    place.append(make("h3", {}, "Curves"), make("p", { class: "quiet" },
      (best === null ? "" : `Grey: trial ${best}, the best. `) + (lines.isThinned ? `At most ${lines.points} points of each curve are kept here.` : "")), charts);
    const other = best === null ? undefined : lines.trials[best];
    await library("plotly");
    lines.metrics.forEach((metric, number) => {
      const values = own[number + 1];
      if (values.every((value) => value === null)) return;
      const all = [...values, ...(other ? other[number + 1] : [])].filter((value) => value !== null);
      const isLog = Math.min(...all) > 0 && Math.max(...all) > 30 * Math.min(...all);
      const trace = (series, name, color) => ({ x: series[0], y: series[number + 1], name, type: "scatter", connectgaps: true,
        mode: series[0].length < 40 ? "lines+markers" : "lines", line: { color, width: 2 }, marker: { size: 5 } });
      const holder = make("div", { role: "img", "aria-label": `${metric} of trial ${trial} against steps, from ${all[0]} to ${values.at(-1)}` });
      charts.append(holder);
      drawChart(holder, { data: [...(other ? [trace(other, `trial ${best}`, "#9aa3ab")] : []), trace(own, `trial ${trial}`, COLOURS[0])],
        layout: { xaxis: { title: { text: "steps" } }, yaxis: { title: { text: escaped(metric) }, type: isLog ? "log" : "linear" }, showlegend: false, margin: { l: 60, r: 10, t: 10, b: 45 } } });
    });
  }

  function addFigures(place, of, trial) {
    const found = [...document.querySelectorAll(`template[data-of="${of.place} ${trial}"]`)];
    if (!found.length) return;
    place.append(...found.map((one) => one.content.cloneNode(true)));
    place.querySelectorAll(".live").forEach(enliven);
  }

  /* -- charts */

  const drawn = new Set();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function themed(layout, width) {
    const text = colour("--text"), line = colour("--line");
    const found = { ...layout, autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", colorway: layout.colorway ?? COLOURS };
    delete found.width;
    delete found.height;
    delete found.title;
    delete found.template;
    found.font = { ...layout.font, color: text, size: 12, family: "system-ui, sans-serif" };
    found.margin = layout.margin ?? { l: 60, r: 15, t: 20, b: 50 };
    if (width < 520 && layout.showlegend !== false) {
      found.legend = { ...layout.legend, orientation: "h", x: 0, y: -0.25, yanchor: "top" };
    }
    const axes = new Set(["xaxis", "yaxis", ...Object.keys(layout).filter((key) => /^[xy]axis\d*$/.test(key))]);
    for (const name of axes) {
      found[name] = { ...layout[name], gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
    }
    if (layout.updatemenus) {
      found.updatemenus = layout.updatemenus.map((menu) => ({ ...menu, bgcolor: colour("--card"), bordercolor: line, font: { color: text } }));
    }
    found.hoverlabel = { bgcolor: colour("--card"), bordercolor: line, font: { color: text }, ...layout.hoverlabel };
    return found;
  }

  async function drawChart(holder, chart) {
    await library("plotly");
    await Plotly.newPlot(holder, chart.data, themed(chart.layout ?? {}, holder.clientWidth), { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] });
    holder.chart = chart;
    drawn.add(holder);
  }

  async function enliven(holder) {
    const chart = JSON.parse(await unpack(holder.dataset.chart));
    holder.closest(".figure").classList.add("is-live");
    await drawChart(holder, chart);
    holder.classList.add("is-drawn");
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    for (const holder of drawn) {
      if (holder.isConnected) Plotly.react(holder, holder.chart.data, themed(holder.chart.layout ?? {}, holder.clientWidth));
      else drawn.delete(holder);
    }
  });

  /* -- begin */

  const near = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      near.unobserve(entry.target);
      if (entry.target.matches(".trials")) makeTable(entry.target); else enliven(entry.target);
    }
  }, { rootMargin: "600px 0px" });
  document.querySelectorAll(".trials").forEach((place) => {
    place.querySelector(".without").textContent = "The table of all trials is being made.";
    near.observe(place);
  });
  document.querySelectorAll(".live").forEach((holder) => near.observe(holder));
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.download, button.toggle");
    if (!button) return;
    if (button.matches(".download")) {
      save(await unpack(button.dataset.source), button.dataset.file);
      return;
    }
    const figure = button.closest(".figure");
    button.setAttribute("aria-pressed", String(figure.classList.toggle("is-print")));
    if (!figure.matches(".is-print")) Plotly.Plots.resize(figure.querySelector(".live"));
  });
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open], .no-print)")];
    opened.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((one) => { one.open = false; }));
})();
