/* How OHIF works here. It stands in a file of its own, for its page runs no script that stands in it. */
"use strict";

console.time("scriptToView"); // OHIF ends this timer
window.PUBLIC_URL = document.currentScript.dataset.files;
window.browserImportFunction = name => import(name);

(() => {
  const opens = JSON.parse(document.getElementById("hozi-opens").textContent);
  const root = window.location.origin + "/dicom-web";

  window.config = {
    name: "hozi",
    routerBasename: "/ohif",
    extensions: [],
    modes: [],
    // Its tour would begin anew in front of every study, in each browser.
    customizationService: [{ "ohif.tours": { $set: [] } }],
    showStudyList: true,
    maxNumberOfWebWorkers: 2,
    showWarningMessageForCrossOrigin: false,
    showCPUFallbackMessage: true,
    showLoadingIndicator: true,
    strictZSpacingForVolumeViewport: true,
    groupEnabledModesFirst: true,
    showErrorDetails: "production",
    // A slow link is shared by whoever sits there: few at once, what is looked at before what may be.
    maxNumRequests: { interaction: 20, thumbnail: 4, prefetch: 6 },
    investigationalUseDialog: { option: "always" },
    whiteLabeling: {
      createLogoComponentFn: React =>
        React.createElement("a", { href: "/studies/", className: "text-white px-2", title: "Hozi" }, "‹ Hozi"),
    },
    httpErrorHandler: error => {
      // The session has ended: the page asks to sign in, and comes back.
      if (error && error.status === 401) window.location.reload();
    },
    defaultDataSourceName: "hozi",
    dataSources: [
      {
        namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
        sourceName: "hozi",
        configuration: {
          friendlyName: "Hozi",
          name: "hozi",
          qidoRoot: root,
          wadoRoot: root,
          wadoUriRoot: root + "/wado",
          qidoSupportsIncludeField: true,
          supportsReject: false,
          supportsStow: false,
          supportsFuzzyMatching: true,
          supportsWildcard: true,
          imageRendering: "wadors",
          thumbnailRendering: "thumbnailDirect",
          enableStudyLazyLoad: true,
          dicomUploadEnabled: false,
          omitQuotationForMultipartRequest: false,
          bulkDataURI: { enabled: true },
          // The address has the row number of the study; what it is called, the page knows.
          onConfiguration: (configuration, { query }) => {
            if (query && opens.studies.length && !query.get("StudyInstanceUIDs")) {
              query.set("StudyInstanceUIDs", opens.studies.join(","));
            }
            return configuration;
          },
        },
      },
    ],
  };
})();
