"use strict";
// Shows /api/openapi.json. Everything of the document goes in as text, never as markup.
(() => {
  const DEPTH = 6;
  const METHODS = ["get", "post", "put", "patch", "delete"];
  const FIRST = ["tasks", "queue", "bots"];
  const LAST = ["health", "meta"];
  const by = (id) => document.getElementById(id);
  let key = "";
  let api = null;

  const el = (tag, attributes, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== ""));
    return node;
  };

  // Text with `code` and paragraphs.
  const prose = (text) => (text || "").split(/\n\s*\n/).filter(Boolean).map((part) => el("p", {}, inline(part)));
  const inline = (text) => (text || "").split(/(`[^`]+`)/).map((part) =>
    part.startsWith("`") && part.length > 2 ? el("code", {}, part.slice(1, -1)) : part);

  const resolve = (schema) => {
    if (!schema || !schema.$ref) return schema || {};
    const found = schema.$ref.slice(2).split("/").reduce((at, name) => at && at[name], api);
    return { ...found, description: schema.description || (found && found.description) };
  };
  const refName = (schema) => (schema && schema.$ref ? schema.$ref.split("/").pop() : "");

  const typeOf = (schema) => {
    if (!schema) return "any";
    if (schema.$ref) return refName(schema);
    if (schema.oneOf) return schema.oneOf.map(typeOf).join(" | ");
    if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
    const types = [].concat(schema.type || "any");
    return types.map((type) => {
      if (type === "array") return `${typeOf(schema.items)}[]`;
      if (type === "object" && schema.additionalProperties) return `map of ${typeOf(schema.additionalProperties)}`;
      return type === "string" && schema.format ? schema.format : type;
    }).join(" | ");
  };

  const limits = (schema) => {
    const found = [];
    if (schema.minimum !== undefined && (schema.minimum !== 0 || schema.maximum !== undefined)) found.push(`at least ${schema.minimum}`);
    if (schema.maximum !== undefined) found.push(`at most ${schema.maximum}`);
    if (schema.default !== undefined) found.push(`default ${JSON.stringify(schema.default)}`);
    const such = schema.example ?? (schema.examples || [])[0];
    if (such !== undefined) found.push(`such as ${JSON.stringify(such)}`);
    return found.length ? ` (${found.join(", ")})` : "";
  };

  // What can be unfolded below a schema: its fields, its items', its alternatives'.
  const inside = (schema, depth, seen) => {
    const name = refName(schema);
    if (depth > DEPTH || (name && seen.includes(name))) return null;
    const path = name ? [...seen, name] : seen;
    const real = resolve(schema);
    if (real.properties) {
      const required = real.required || [];
      return el("ul", {}, Object.entries(real.properties).map(([field, part]) =>
        line(field, part, required.includes(field), depth, path)));
    }
    if (real.items) return inside(real.items, depth, path);
    if (real.additionalProperties && real.additionalProperties !== true) return inside(real.additionalProperties, depth, path);
    const options = (real.oneOf || real.allOf || []).filter((one) => one.type !== "null");
    if (options.length === 1) return inside(options[0], depth, path);
    if (options.length) {
      return el("ul", {}, options.map((one, i) => line(one.title || `option ${i + 1}`, one, false, depth, path)));
    }
    if (name && real.enum) return el("ul", {}, el("li", {}, el("span", { class: "type" }, typeOf(real))));
    return null;
  };

  const line = (field, schema, required, depth, seen) => {
    const real = resolve(schema);
    const head = [
      el("span", { class: "name" }, field), " ",
      el("span", { class: "type" }, typeOf(schema)), " ",
      required ? el("span", { class: "req" }, "required ") : "",
      el("span", { class: "desc" }, inline((real.description || "").replace(/\s+/g, " ")), limits(real)),
    ];
    const below = inside(schema, depth + 1, seen);
    if (!below) return el("li", {}, head);
    return el("li", {}, el("details", { open: depth < 1 }, el("summary", {}, head), below));
  };

  const schemaView = (schema) => el("div", { class: "schema" },
    el("p", {}, el("span", { class: "type" }, typeOf(schema)), " ",
      el("span", { class: "desc" }, inline((resolve(schema).description || "").replace(/\s+/g, " ")))),
    inside(schema, 0, []));

  // An example of a schema, from its own examples where it has them.
  const example = (schema, depth = 0, required = false) => {
    const real = resolve(schema);
    if (real.example !== undefined) return real.example;
    if (real.examples && real.examples.length) return real.examples[0];
    if (real.default !== undefined) return real.default;
    if (real.enum) return real.enum[0];
    if (depth > DEPTH) return null;
    if (real.oneOf) return example(real.oneOf.find((one) => one.type !== "null"), depth + 1, required);
    const type = [].concat(real.type || "object")[0];
    if (type === "array") return real.items && depth < 3 ? [example(real.items, depth + 1, true)] : [];
    if (type === "integer" || type === "number") return real.minimum || 0;
    if (type === "boolean") return false;
    if (type === "string") return real.format === "date-time" ? new Date().toISOString() : "";
    const needed = real.required || [];
    const fields = Object.entries(real.properties || {}).filter(([name]) => needed.includes(name));
    return Object.fromEntries(fields.map(([name, part]) => [name, example(part, depth + 1, true)]));
  };

  const call = (method, url, body, headers) => fetch(url, {
    method: method.toUpperCase(), body, cache: "no-store", credentials: "omit", redirect: "error",
    headers: { ...(key ? { Authorization: `Bearer ${key}` } : {}), ...headers },
  });

  const tryIt = (method, path, operation) => {
    const fields = (operation.parameters || []).map((parameter) => {
      const id = `${operation.operationId}-${parameter.name}`;
      const real = resolve(parameter.schema);
      const hint = parameter.example ?? real.example ?? (real.examples || [])[0] ?? "";
      const input = el("input", { id, placeholder: hint, required: parameter.required, spellcheck: "false" });
      return { parameter, input, row: el("div", { class: "row" }, el("label", { for: id }, parameter.name, parameter.required ? " *" : ""), input) };
    });
    const content = Object.entries((operation.requestBody || {}).content || {})[0];
    const area = content && el("textarea", { spellcheck: "false", "aria-label": "Body (JSON)" });
    if (area) area.value = JSON.stringify(example(content[1].schema), null, 2);
    const out = el("div", { "aria-live": "polite" });
    const send = async (event) => {
      event.preventDefault();
      let url = path;
      const query = new URLSearchParams();
      const headers = area ? { "Content-Type": content[0] } : {};
      for (const { parameter, input } of fields) {
        if (!input.value) continue;
        if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, input.value.split("/").map(encodeURIComponent).join("/"));
        else if (parameter.in === "query") query.set(parameter.name, input.value);
        else headers[parameter.name] = input.value;
      }
      if ([...query].length) url += `?${query}`;
      out.replaceChildren(el("p", { class: "desc" }, "…"));
      try {
        const begun = performance.now();
        const answer = await call(method, url, area ? area.value : undefined, headers);
        const text = await answer.text();
        const took = Math.round(performance.now() - begun);
        out.replaceChildren(
          el("p", {}, el("strong", { class: answer.ok ? "ok" : "bad" }, `${answer.status} ${answer.statusText}`),
            el("span", { class: "desc" }, ` in ${took} ms, ${answer.headers.get("content-type") || "no body"}`)),
          text ? el("pre", { tabindex: "0" }, pretty(text)) : "");
      } catch (error) {
        out.replaceChildren(el("p", { class: "bad" }, `No answer: ${error.message}`));
      }
    };
    const changes = method !== "get";
    return el("form", { class: "try", onsubmit: send },
      el("div", {},
        el("h3", {}, "Try it"),
        fields.map((field) => field.row), area,
        el("div", { class: "row" }, el("button", { class: "main" }, `Send ${method.toUpperCase()}`),
          changes ? el("span", { class: "desc" }, "This is done to the hive for real.") : ""),
        out));
  };

  const pretty = (text) => { try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; } };

  const parameters = (list) => !list || !list.length ? [] : [
    el("h3", {}, "Parameters"),
    el("table", {},
      el("thead", {}, el("tr", {}, ["Name", "In", "Type", "Meaning"].map((title) => el("th", { scope: "col" }, title)))),
      el("tbody", {}, list.map((one) => el("tr", {},
        el("td", {}, el("span", { class: "name" }, one.name), one.required ? el("span", { class: "req" }, " required") : ""),
        el("td", {}, one.in), el("td", {}, el("span", { class: "type" }, typeOf(one.schema))),
        el("td", {}, inline(one.description), limits(one.schema || {})))))),
  ];

  const bodies = (title, content) => Object.entries(content || {}).flatMap(([type, { schema }]) => [
    el("h3", {}, title, " ", el("code", {}, type)), schema ? schemaView(schema) : "",
  ]);

  const responses = (all) => Object.entries(all || {}).flatMap(([status, answer]) => {
    const label = status === "default" ? "Otherwise" : status;
    const content = Object.entries(answer.content || {});
    const tone = status.startsWith("2") ? "ok" : "bad";
    const head = [el("strong", { class: tone }, label), " ", inline(answer.description), " ",
      content.map(([type]) => el("code", {}, type))];
    const shown = content.filter(([, one]) => one.schema).map(([, one]) => schemaView(one.schema));
    return shown.length ? el("details", { open: tone === "ok" }, el("summary", {}, head), shown) : el("p", {}, head);
  });

  const operationView = ({ method, path, operation, id }) => {
    const body = el("div", { class: "body" });
    const details = el("details", { class: "op", id },
      el("summary", {},
        el("span", { class: `method ${method}` }, method.toUpperCase()),
        el("span", { class: "path" }, path),
        el("span", { class: "what" }, inline(operation.summary))),
      body);
    // What nobody has unfolded is not built.
    details.addEventListener("toggle", () => {
      if (!details.open || body.hasChildNodes()) return;
      body.append(
        el("p", {}, inline(operation.summary)),
        ...prose(operation.description),
        ...parameters(operation.parameters),
        ...bodies("Body", (operation.requestBody || {}).content),
        el("h3", {}, "Answers"), ...responses(operation.responses),
        tryIt(method, path, operation));
    });
    return details;
  };

  const operations = () => Object.entries(api.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => {
      const operation = item[method];
      const tag = (operation.tags || ["other"])[0];
      return { method, path, operation, tag, id: `op-${operation.operationId}` };
    }));

  const show = () => {
    const all = operations();
    const place = (tag) => (FIRST.includes(tag) ? FIRST.indexOf(tag) : FIRST.length + (LAST.includes(tag) ? 1 : 0));
    const tags = [...new Set(all.map((one) => one.tag))].sort((a, b) => place(a) - place(b));
    const main = by("main");
    const index = by("index");
    main.replaceChildren(...prose(api.info.description),
      el("p", { class: "desc" }, `Version ${api.info.version}, OpenAPI ${api.openapi}. `,
        `${all.length} operations.`));
    index.replaceChildren();
    for (const tag of tags) {
      const group = all.filter((one) => one.tag === tag);
      const views = group.map(operationView);
      const section = el("section", { "aria-labelledby": `tag-${tag}` }, el("h2", { id: `tag-${tag}` }, tag), views);
      const links = group.map((one) => el("li", {}, el("a", { href: `#${one.id}` },
        el("span", { class: one.method }, one.method.toUpperCase()), ` ${one.path.replace(/^\/api\/(v1\/)?/, "")}`)));
      const list = el("div", {}, el("h2", {}, tag), el("ul", {}, links));
      main.append(section);
      index.append(list);
      group.forEach((one, i) => Object.assign(one, { view: views[i], link: links[i], section, list }));
    }
    const schemas = Object.entries((api.components || {}).schemas || {});
    main.append(el("section", {}, el("h2", { id: "schemas" }, "Schemas"), schemas.map(([name, schema]) => {
      const details = el("details", { class: "op" }, el("summary", {}, el("span", { class: "path" }, name),
        el("span", { class: "what" }, inline((schema.description || "").split("\n")[0]))));
      details.addEventListener("toggle", () => {
        if (details.open && details.children.length === 1) {
          details.append(el("div", { class: "body" }, schemaView({ $ref: `#/components/schemas/${name}` })));
        }
      });
      return details;
    })));
    index.append(el("h2", {}, el("a", { href: "#schemas" }, "Schemas")));
    by("filter").oninput = (event) => filter(all, event.target.value);
    by("layout").hidden = false;
    by("forget").hidden = false;
    unfold();
  };

  const filter = (all, text) => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = ({ method, path, operation }) => {
      const hay = `${method} ${path} ${operation.summary} ${operation.operationId} ${operation["x-permission"] || ""}`.toLowerCase();
      return words.every((word) => hay.includes(word));
    };
    for (const one of all) one.view.hidden = one.link.hidden = !fits(one);
    for (const one of all) {
      one.section.hidden = one.list.hidden = all.every((other) => other.section !== one.section || other.view.hidden);
    }
  };

  // The operation that the address names is opened.
  const unfold = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    if (target.tagName === "DETAILS") target.open = true;
    target.scrollIntoView();
  };

  const open = async (event) => {
    event.preventDefault();
    const status = by("status");
    key = by("key").value.trim();
    status.textContent = "";
    try {
      const answer = await call("get", "/api/openapi.json");
      const body = await answer.json();
      if (!answer.ok) throw new Error(body.detail || body.title || `the hive answered ${answer.status}`);
      api = body;
      by("key").value = "";
      by("key").required = false;
      by("key").placeholder = "in use; enter another";
      show();
    } catch (error) {
      key = "";
      status.textContent = error.message;
    }
  };

  const forget = () => {
    key = "";
    api = null;
    location.hash = "";
    by("layout").hidden = by("forget").hidden = true;
    by("main").replaceChildren();
    by("index").replaceChildren();
    by("key").placeholder = "deia_…";
    by("key").required = true;
    by("key").focus();
  };

  by("key-form").addEventListener("submit", open);
  by("forget").addEventListener("click", forget);
  window.addEventListener("hashchange", unfold);
})();
