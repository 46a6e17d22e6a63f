// A page that was opened as a file may not read other files: the search then shows titles alone.
DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = location.protocol !== "file:";
